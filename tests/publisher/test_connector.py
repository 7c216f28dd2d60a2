"""The way to a broker: proxies of the file and the environment, private certificates, the sockets' options."""

import asyncio
import gc
import socket
import ssl
import subprocess
import sys

import aiohttp
import pytest

from publisher.config.values import BrokerAddress, ConfigError
from publisher.link import connector
from publisher.link.client import Broker, Refused, Unavailable
from publisher.link.connector import Way
from tests.support.fake_broker import FakeBroker
from tests.support.middlebox import Certificate, Middlebox, certificate_for

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Certificate:
    return certificate_for("broker.test", tmp_path_factory.mktemp("certificate"))


def proxy_of(url: str = "https://broker.test", **more) -> str | None:
    proxy = Way.of(BrokerAddress(url, **more)).proxy
    return None if proxy is None else str(proxy)


# ── which proxy ─────────────────────────────────────────────────────────────


def test_without_anything_said_the_broker_is_reached_directly():
    way = Way.of(BrokerAddress("https://broker.test"))
    assert (way.proxy, way.host, way.port) == (None, "broker.test", 443)


@pytest.mark.parametrize(
    "environment, url, proxy",
    [
        ({"HTTPS_PROXY": "http://p:1"}, "https://broker.test", "http://p:1/"),
        ({"https_proxy": "http://p:1"}, "https://broker.test", "http://p:1/"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://broker.test", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://broker.test", "http://p:1/"),
        ({"ALL_PROXY": "http://p:1"}, "https://broker.test", "http://p:1/"),
        ({"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://p:1"}, "https://broker.test", "http://p:1/"),
        ({"HTTPS_PROXY": ""}, "https://broker.test", None),
        ({"HTTPS_PROXY": "p.test:3128"}, "https://broker.test", "http://p.test:3128/"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "broker.test"}, "https://broker.test", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".test, x"}, "https://broker.test", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://broker.test", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "broker.test:8443"}, "https://broker.test:8443", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "broker.test:8443"}, "https://broker.test", "http://p:1/"),
        ({"HTTP_PROXY": "http://p:1"}, "http://127.0.0.1:8080", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://[::1]:8080", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://localhost:8080", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://[fd00::1]:8080", "http://p:1/"),
    ],
)
def test_the_environment_names_the_proxy_as_for_other_programs(no_proxy, environment, url, proxy):
    for name, value in environment.items():
        no_proxy.setenv(name, value)
    assert proxy_of(url) == proxy


def test_a_written_proxy_comes_before_the_environment_s_and_holds_for_this_machine_too(no_proxy):
    no_proxy.setenv("HTTPS_PROXY", "http://other:1")
    no_proxy.setenv("NO_PROXY", "*")
    assert proxy_of(proxy="http://p:1") == "http://p:1/"
    assert proxy_of("http://127.0.0.1:8080", proxy="p:1") == "http://p:1/"


def test_none_means_none(no_proxy):
    no_proxy.setenv("HTTPS_PROXY", "http://other:1")
    assert proxy_of(proxy="none") is None


def test_who_is_connected_to_is_the_proxy():
    way = Way.of(BrokerAddress("https://broker.test", proxy="http://u:p@proxy.test:3128"))
    assert (way.host, way.port) == ("proxy.test", 3128)


@pytest.mark.parametrize("text", ["socks5://me:hush@p:1", "socks5h://me:hush@p:1", "https://me:hush@p:1",
                                  "http://me:hush@", "http://me:hush@p:notaport", "http://me:hush@[::1", "hush://hush"])
def test_a_proxy_that_cannot_be_used_is_told_without_its_value(no_proxy, text):
    with pytest.raises(ConfigError) as written:
        proxy_of(proxy=text)
    no_proxy.setenv("ALL_PROXY", text)
    with pytest.raises(ConfigError) as found:
        proxy_of()
    assert str(written.value).startswith("proxy: ") and str(found.value).startswith("ALL_PROXY: ")
    for told in (str(written.value), str(found.value)):
        assert "hush@" not in told and "me:" not in told and '"none"' in told and "\n" not in told
    assert "NO_PROXY" in str(found.value)


def test_a_socks_proxy_is_called_by_its_name():
    with pytest.raises(ConfigError, match="proxy: a SOCKS proxy is not supported"):
        proxy_of(proxy="socks5://p:1")


@pytest.mark.parametrize("url", ["", "broker", "ftp://broker.test", "http://", "http://[::1"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="the broker's address must be one like"):
        Way.of(BrokerAddress(url))


def test_credentials_are_in_no_text_of_a_way():
    assert "hush" not in repr(Way.of(BrokerAddress("https://broker.test", proxy="http://me:hush@p:1")))


# ── through a proxy ─────────────────────────────────────────────────────────


class ThroughThis:
    """A broker's client on the way of an address."""

    def __init__(self, address: BrokerAddress):
        self.way = Way.of(address)
        self._address = address

    async def __aenter__(self) -> "ThroughThis":
        self.http = aiohttp.ClientSession(connector=self.way.connector(), proxy=self.way.proxy)
        self.broker = Broker(self.http, self._address.url, "the-token", "instance", timeout_s=5)
        return self

    async def __aexit__(self, *_):
        await self.http.close()


async def test_plain_http_goes_through_the_proxy_with_both_credentials_each_at_its_place(tmp_path, no_proxy):
    (tmp_path / ".netrc").write_text("machine broker.test login wrong password wrong\n")
    no_proxy.setenv("HOME", str(tmp_path))
    no_proxy.setenv("NETRC", str(tmp_path / ".netrc"))
    async with FakeBroker() as behind, Middlebox(behind.url, credentials="me:h%40sh") as box:
        no_proxy.setenv("HTTP_PROXY", f"http://me:h%40sh@127.0.0.1:{box.port}")
        async with ThroughThis(BrokerAddress("http://broker.test", "the-token")) as through:
            await through.broker.heartbeat()
            await through.broker.heartbeat()
        assert behind.calls == ["heartbeat"] * 2
        assert [headers["Authorization"] for headers in behind.headers] == ["Bearer the-token"] * 2
        assert "Proxy-Authorization" not in behind.headers[0]
        assert [line.split()[1] for line in box.asked] == ["http://broker.test/api/v1/llms/_provider-heartbeat"] * 2


async def test_a_proxy_s_refusal_is_told_without_its_credentials():
    async with FakeBroker() as behind, Middlebox(behind.url, credentials="me:right") as box:
        proxy = f"http://me:hush@127.0.0.1:{box.port}"
        async with ThroughThis(BrokerAddress("http://broker.test", proxy=proxy)) as through:
            with pytest.raises(Refused) as plain:
                await through.broker.heartbeat()
        async with ThroughThis(BrokerAddress("https://broker.test", proxy=proxy)) as through:
            with pytest.raises(Unavailable) as tunnel:
                await through.broker.heartbeat()
        assert plain.value.status == 407 and "Proxy Authentication Required" in str(tunnel.value)
        assert "hush" not in f"{plain.value} {tunnel.value}" and behind.calls == []


async def test_a_proxy_that_is_away_is_unavailable_and_its_credentials_stay_secret():
    proxy = "http://me:hush@127.0.0.1:1"
    async with ThroughThis(BrokerAddress("http://broker.test", proxy=proxy)) as through:
        with pytest.raises(Unavailable) as told:
            await through.broker.heartbeat()
    assert "hush" not in str(told.value)


async def test_a_broker_behind_tls_is_reached_through_a_tunnel_with_a_private_certificate(certificate):
    async with FakeBroker() as behind, Middlebox(behind.url, tls=certificate) as front:
        async with Middlebox(front.url, credentials="me:h%40sh") as box:
            address = BrokerAddress("https://broker.test", "the-token", ca_file=str(certificate.file),
                                    proxy=f"http://me:h%40sh@127.0.0.1:{box.port}")
            async with ThroughThis(address) as through:
                await through.broker.heartbeat()
                await through.broker.heartbeat()
            assert box.asked == ["CONNECT broker.test:443 HTTP/1.1"]
            assert [headers["Authorization"] for headers in behind.headers] == ["Bearer the-token"] * 2


# ── certificates ────────────────────────────────────────────────────────────


async def test_a_private_certificate_is_not_trusted_without_the_file(certificate):
    async with FakeBroker() as behind, Middlebox(behind.url, tls=certificate) as front, Middlebox(front.url) as box:
        async with ThroughThis(BrokerAddress("https://broker.test", proxy=f"127.0.0.1:{box.port}")) as through:
            with pytest.raises(Unavailable):
                await through.broker.heartbeat()
        assert behind.calls == []


def test_the_system_s_certificates_stay_trusted_beside_the_file_s(certificate):
    system = ssl.create_default_context()
    way = Way.of(BrokerAddress("https://broker.test", ca_file=str(certificate.file)))
    assert way._trusted.cert_store_stats()["x509"] == system.cert_store_stats()["x509"] + 1
    assert way._trusted.verify_mode is ssl.CERT_REQUIRED and way._trusted.check_hostname


def test_ssl_cert_file_works_without_any_setting(certificate, tmp_path):
    """In a process of its own: the HTTP client reads the variable when it is loaded."""
    code = ("import asyncio, sys; from tests.publisher.test_connector import one_call; "
            "asyncio.run(one_call(sys.argv[1], sys.argv[2]))")
    told = subprocess.run([sys.executable, "-c", code, str(certificate.file), str(certificate.key)],
                          env={"SSL_CERT_FILE": str(certificate.file), "PYTHONPATH": ":".join(sys.path)},
                          capture_output=True, text=True, timeout=30)
    assert told.returncode == 0, told.stderr


async def one_call(file: str, key: str) -> None:
    certificate = Certificate(file, key)
    async with FakeBroker() as behind, Middlebox(behind.url, tls=certificate) as front, Middlebox(front.url) as box:
        async with ThroughThis(BrokerAddress("https://broker.test", proxy=f"127.0.0.1:{box.port}")) as through:
            await through.broker.heartbeat()
        assert behind.calls == ["heartbeat"]


@pytest.mark.parametrize("content, told", [
    (None, "cannot be read: No such file or directory"), (b"", "holds no certificate"),
    (b"hello", "holds no certificate"), (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "holds no certificate"),
])
def test_a_ca_file_that_cannot_be_used_is_one_line(tmp_path, content, told):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        Way.of(BrokerAddress("https://broker.test", ca_file=str(path)))
    assert str(refused.value).startswith(f"caFile {path}: {told}") and "\n" not in str(refused.value)


def test_a_folder_is_no_ca_file(tmp_path):
    with pytest.raises(ConfigError, match="caFile .*: "):
        Way.of(BrokerAddress("https://broker.test", ca_file=str(tmp_path)))


def test_plain_http_costs_no_certificates(monkeypatch):
    monkeypatch.setattr(ssl, "create_default_context", None)
    Way.of(BrokerAddress("http://broker.test", ca_file="/no/such"))
    Way.of(BrokerAddress("https://broker.test"))


# ── sockets ─────────────────────────────────────────────────────────────────


def our_sockets(port: int) -> list[socket.socket]:
    """Those of this process that lead to that port."""
    found = []
    for thing in gc.get_objects():
        if isinstance(thing, socket.socket) and thing.family == socket.AF_INET and thing.fileno() >= 0:
            try:
                if thing.getpeername()[1] == port:
                    found.append(thing)
            except OSError:
                pass
    return found


async def test_every_connection_notices_a_dead_peer():
    async with FakeBroker() as behind, ThroughThis(BrokerAddress(behind.url)) as through:
        channel = await through.broker.channel(5)
        (made,) = our_sockets(int(behind.url.rpartition(":")[2]))
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if sys.platform == "linux":
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        channel.close()


async def test_an_option_that_the_system_refuses_costs_no_connection(monkeypatch):
    monkeypatch.setattr(connector, "_OPTIONS", [(socket.IPPROTO_TCP, "TCP_NODELAY", "nonsense".encode() * 999),
                                                (socket.IPPROTO_TCP, "NO_SUCH_OPTION", 1)])
    async with FakeBroker() as behind, ThroughThis(BrokerAddress(behind.url)) as through:
        await through.broker.heartbeat()
        assert behind.calls == ["heartbeat"]


async def test_calls_share_a_connection_for_longer_than_a_heartbeat_and_shorter_than_middleboxes_allow():
    assert 30 < connector.KEEPALIVE_S < 60
    async with FakeBroker() as behind, Middlebox(behind.url) as box:
        async with ThroughThis(BrokerAddress(box.url)) as through:
            for _ in range(5):
                await through.broker.heartbeat()
        assert box.connections == 1


async def test_a_cut_ends_the_channel_and_calls_at_once_and_what_comes_next_connects_anew():
    async with FakeBroker() as behind, ThroughThis(BrokerAddress(behind.url)) as through:
        channel = await through.broker.channel(60)
        assert await channel.content.readany() == b": hello\n\n"
        behind.hold_results = asyncio.Event()
        call = asyncio.create_task(through.broker.results(b'{"taskId": "x"}'))
        await behind.until(lambda: behind.channels == 1)
        await asyncio.wait([call], timeout=0.05)
        through.way.cut()
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable):
                await call
            try:
                assert await channel.content.readany() == b""
            except aiohttp.ClientError:
                pass  # either is an end
        behind.hold_results.set()
        await through.broker.heartbeat()
        assert behind.calls[-1] == "heartbeat"
        channel.close()


async def test_a_cut_of_a_way_without_connections_does_nothing():
    async with ThroughThis(BrokerAddress("http://127.0.0.1:1")) as through:
        through.way.cut()
        with pytest.raises(Unavailable):
            await through.broker.heartbeat()
        through.way.cut()
