"""The look at a broker: a real one, and all that can be in its place or in between."""

import asyncio
import socket
import time
from email.utils import formatdate

import pytest
from aiohttp import web

from publisher.check.broker import check_broker
from publisher.check.clock import check_clock
from publisher.check.finding import About
from publisher.config.values import BrokerAddress
from scripts.ports import free_port
from tests.publisher.check.looking import answering, levels, short
from tests.support.brokers import replica
from tests.support.middlebox import Middlebox, certificate_for
from tests.support.places import FakePlace

SECRET = "rv_not-for-anybody"


async def looked(url: str, token: str | None = None, **more) -> list[str]:
    limit_s = more.pop("limit_s", 5.0)
    found = await check_broker(BrokerAddress(url, token, **more), limit_s)
    assert SECRET not in repr(found) and "hunter2" not in repr(found)
    assert all(finding.remedy for finding in found if finding.level != "ok")
    return short(found)


async def test_an_open_broker_is_well():
    async with replica(FakePlace()) as broker:
        found = await looked(broker.url)
    assert found[0].startswith("ok: a Reveille broker 0.1.0 answers in ")
    assert found[1:] == ["ok: its clock and this machine's agree", "ok: it wants no token"]


async def test_the_right_token_is_well_and_nothing_is_left_behind():
    async with replica(FakePlace()) as broker:
        _, token = await broker.broker.store.tokens.create(name="p", roles=["publisher"], owner="p")
        assert (await looked(broker.url + "/", token))[-1] == "ok: this token may publish"
        status, rows, _ = await broker.call("GET", "/api/v1/llms", headers={"Authorization": f"Bearer {token}"})
        assert (status, rows) == (200, [])


async def test_each_wrong_token_has_its_own_remedy():
    async with replica(FakePlace()) as broker:
        _, client = await broker.broker.store.tokens.create(name="c", roles=["client"], owner="c")
        assert (await looked(broker.url))[-1] == (
            'error: the broker wants a token | set "token", "tokenFile" or BROKER_TOKEN: '
            "broker tokens create --role publisher makes one"
        )
        assert (await looked(broker.url, SECRET))[-1].startswith("error: the broker does not know this token | correct or")
        said = (await looked(broker.url, client))[-1]
        assert said.startswith("error: the broker refuses this token: This needs a token with the role 'publisher'")
        assert client not in said


async def test_an_open_broker_under_another_name_is_refused_with_the_setting_to_change():
    async with replica(FakePlace()) as broker, Middlebox(broker.url) as box:
        found = await looked("http://broker.test", proxy=box.url)
    assert "BROKER_ALLOWED_HOSTS" in found[-1] and found[-1].startswith("error: the broker refuses us: ")


async def test_a_broker_that_drains_takes_nothing_now():
    async with replica(FakePlace()) as broker:
        await broker.broker.drain(0)
        found = await looked(broker.url)
    assert found[1].startswith("warning: it takes no requests now: ") and found[0].startswith("ok: ")


@pytest.mark.parametrize(
    "answer, said",
    [
        (lambda r: web.Response(text="<html>"), "error: this is no Reveille broker | correct the address"),
        (lambda r: web.json_response({"status": "ok", "version": "1"}), "error: this is no Reveille broker"),
        (lambda r: web.json_response({"error": {"message": "x", "code": "nope"}}, status=404), "error: this is no Reveille"),
        (lambda r: web.json_response([1], status=401), "error: this is no Reveille broker"),
        (lambda r: web.Response(status=502), "error: it answers with the error 502 | is the broker behind this proxy"),
    ],
    ids=["html", "another", "404", "401", "502"],
)
async def test_what_is_no_broker_is_told_from_one(answer, said):
    async with answering(answer) as url:
        found = await looked(url, SECRET)
    assert [line for line in found if line.startswith("error")][0].startswith(said), found


async def test_a_broker_without_its_health_page_is_still_one():
    def answer(request):
        if "heartbeat" in request.path:
            return web.json_response({"error": {"message": "x", "code": "unknown_session"}}, status=404)
        return web.Response(status=404)

    async with answering(answer) as url:
        assert levels(await check_broker(BrokerAddress(url))) == ["ok", "ok", "ok"]


async def test_a_busy_broker_leaves_the_token_open():
    def answer(request):
        return web.json_response({"status": "ok", "version": "1"}, status=503 if "heartbeat" in request.path else 200)

    async with answering(answer) as url:
        assert "warning: whether the token is right is not known: the broker answers 503 now | try again" in await looked(url)


async def test_a_redirect_is_not_followed_and_its_target_is_told_without_secrets():
    asked = []

    def answer(request):
        asked.append(request.path)
        raise web.HTTPPermanentRedirect(f"https://user:hunter2@new.example/llm/healthz?key={SECRET}")

    async with answering(answer) as url:
        assert await looked(url, SECRET) == ["error: this address sends elsewhere | use that one: https://new.example/llm"]
    assert asked == ["/healthz"]


async def test_nobody_at_the_port(unused_port):
    assert await looked(f"http://127.0.0.1:{unused_port}") == [
        f"error: nobody listens at 127.0.0.1:{unused_port} | start the broker, or correct the address"
    ]


async def test_a_name_that_does_not_resolve():
    found = await looked("http://no-such-host.invalid")
    assert found[0].startswith("error: the name no-such-host.invalid does not resolve | ")


async def test_one_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        found = await looked(f"http://127.0.0.1:{port}", limit_s=0.2)
    assert found[0].startswith(f"error: 127.0.0.1:{port} does not answer in time | ")


async def test_one_that_speaks_something_else():
    async def rude(reader, writer):
        writer.write(b"220 smtp.example\r\n")
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(rude, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = await looked(url)
    assert "gave no proper answer" in found[0] and "is it https://" in found[0]


async def test_a_private_certificate_needs_its_authority(tmp_path):
    certificate = certificate_for("localhost", tmp_path)
    async with replica(FakePlace()) as broker, Middlebox(broker.url, tls=certificate) as box:
        url = f"https://localhost:{box.port}"
        found = await looked(url)
        assert found[0].startswith("error: the certificate of localhost is refused: self") and '"caFile"' in found[0]
        assert (await looked(url, ca_file=str(certificate.file)))[0].startswith("ok: a Reveille broker")
        other = await looked(f"https://127.0.0.1:{box.port}", ca_file=str(certificate.file))
        assert "use the name that the certificate has" in other[0]


async def test_tls_where_there_is_none():
    async with replica(FakePlace()) as broker:
        found = await looked(broker.url.replace("http://", "https://"))
    assert "does not speak TLS" in found[0] and "is it http://" in found[0]


async def test_a_ca_file_that_is_missing(tmp_path):
    found = await looked("https://localhost", ca_file=str(tmp_path / "no.pem"))
    assert "no.pem: cannot be read" in found[0] and found[0].startswith("error: ")


async def test_through_a_proxy_with_and_without_its_password():
    async with replica(FakePlace()) as broker, Middlebox(broker.url, credentials="user:hunter2") as box:
        with_password = box.url.replace("//", "//user:hunter2@")
        assert (await looked("http://localhost", proxy=with_password))[0].startswith("ok: ")
        found = await looked("https://broker.test", proxy=box.url)
        assert "wants a user and a password" in found[0]


async def test_a_proxy_that_is_away(unused_port):
    found = await looked("https://broker.test", proxy=f"http://u:hunter2@127.0.0.1:{unused_port}")
    assert found[0].startswith(f"error: the proxy 127.0.0.1:{unused_port} is not reached") and '"proxy": "none"' in found[0]


async def test_a_proxy_of_a_kind_that_is_not_supported():
    assert "SOCKS" in (await looked("https://broker.test", proxy="socks5://127.0.0.1:1"))[0]


async def test_a_token_over_plain_http_to_elsewhere_is_doubtful():
    def answer(request):
        return web.json_response({"error": {"message": "x", "code": "unknown_session"}}, status=404)

    async with answering(answer) as url:
        assert "unencrypted" not in " ".join(await looked(url, SECRET))
        found = await looked("http://broker.test", SECRET, proxy=url)
    assert found[-1].startswith("warning: the token and all requests travel unencrypted")


@pytest.mark.parametrize(
    "ahead_s, said",
    [
        (0, "ok: its clock"), (59, "ok: its clock"), (-59, "ok: its clock"),
        (125, "warning: this machine's clock is 2m05s ahead of the broker's"),
        (-7200, "warning: this machine's clock is 2h00m behind the broker's"),
    ],
)
def test_a_clock_that_is_wrong_is_told_by_how_much(ahead_s, said):
    now = 1_800_000_000.0
    assert short(check_clock(About("b"), formatdate(now - ahead_s, usegmt=True), now))[0].startswith(said)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sat, 99 Nov 2026 00:00:00 GMT"])
def test_a_broker_without_a_usable_date_says_nothing_of_the_clock(date):
    assert check_clock(About("b"), date, time.time()) == []


@pytest.fixture
def unused_port() -> int:
    return free_port()
