"""Which addresses an upstream may have: literal, resolved, spelled in every way that hides an internal one."""

from __future__ import annotations

import socket

import pytest

from broker.errors import Unprocessable
from broker.upstream.guard import ForbiddenAddress, Guard, GuardedResolver, read_url

OPEN = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::"]
INTERNAL = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "169.254.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::",
    "2002:a9fe:a9fe::", "2001:0:4136:e378:8000:63bf:f5ff:fffe", "2001:db8::1", "no address", "",
]


def resolving(monkeypatch, **hosts: list[str]) -> None:
    """The system's names, for the length of a test: dots are written as ``_``."""
    def getaddrinfo(host, port, *_, **__):
        literal = ":" in host or host.replace(".", "").isdigit()
        found = [host] if literal else hosts.get(host.replace(".", "_"))
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port or 0, 0, 0)[: 4 if ":" in one else 2])
            for one in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("address", OPEN)
def test_the_open_internet_may_be_reached(address):
    assert Guard("").permits(address)


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses_may_not(address):
    assert not Guard("").permits(address)


@pytest.mark.parametrize(
    ("allow", "address"),
    [
        ("10.0.0.0/8", "10.9.9.9"), ("10.0.0.0/8", "::ffff:10.9.9.9"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("[::1]", "::1"),
        ("fd00::/8, 192.168.1.7", "192.168.1.7"), ("10.1.2.3/8", "10.0.0.1"), ("fd00::/8", "fd12::1"),
    ],
)
def test_what_the_setting_names_may_be_reached(allow, address):
    assert Guard(allow).permits(address)


def test_the_setting_opens_nothing_else():
    guard = Guard("10.0.0.0/24, gpu-box")
    assert not guard.permits("10.0.1.1") and not guard.permits("127.0.0.1")
    assert guard.trusts("GPU-box.") and not guard.trusts("gpu-box.example") and not guard.trusts("")


@pytest.mark.parametrize("address", [one for one in INTERNAL if one[:1].isdigit() or ":" in one])
def test_no_socket_is_opened_for_an_internal_address(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(ForbiddenAddress):
        Guard("").open_socket((family, socket.SOCK_STREAM, 6, "", (address, 80)))


def test_a_socket_is_opened_for_one_that_may_be_reached():
    with Guard("127.0.0.1").open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))) as made:
        assert made.family is socket.AF_INET


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/v1", "http://127.1/v1", "http://2130706433/v1", "http://0x7f000001/v1", "http://0177.0.0.1/v1", "http://0/v1",
        "http://[::1]:8000/v1", "http://[::ffff:127.0.0.1]/v1", "http://localhost:8000/v1", "http://LOCALHOST/v1",
    ],
)
async def test_every_spelling_of_this_machine_is_refused(url):
    with pytest.raises(Unprocessable, match="BROKER_UPSTREAM_ALLOW"):
        await Guard("").check(url)


async def test_a_name_is_refused_when_any_of_its_addresses_is_internal(monkeypatch):
    resolving(monkeypatch, good_example=["1.1.1.1"], bad_example=["1.1.1.1", "10.0.0.1"], six_example=["fd00::1"])
    await Guard("").check("https://good.example/v1")
    for host in ("bad.example", "six.example"):
        with pytest.raises(Unprocessable):
            await Guard("").check(f"https://{host}/v1")
        resolver = GuardedResolver(Guard(""))
        with pytest.raises(ForbiddenAddress):
            await resolver.resolve(host, 443)
        await resolver.close()


async def test_a_name_that_the_setting_names_may_lead_anywhere(monkeypatch):
    resolving(monkeypatch, gpu=["10.0.0.1"])
    await Guard("gpu").check("http://gpu:8000/v1")


async def test_a_name_that_does_not_resolve_yet_is_taken(monkeypatch):
    resolving(monkeypatch)
    await Guard("").check("https://later.example/v1")


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "//x/v1", "ftp://x/", "file:///etc/passwd", "http://", "http:///v1", "http://x:99999/", "http://x:a/", "http://[::1",
        "http://ann@x/", "http://ann:pw@x/", "http://:pw@x/", "http://x/#y", "http://x/\n", "http://x /", "http://x/\x00", "unix:///x",
    ],
)
def test_what_is_no_address_of_an_api_is_refused_and_no_password_repeated(url):
    with pytest.raises(Unprocessable) as told:
        read_url(url)
    assert told.value.param == "url" and "pw" not in told.value.message
