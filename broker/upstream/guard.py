"""Which addresses an upstream may have: those of the open internet, and what the setting names.

A name is resolved and every address of it is looked at; then each socket is looked
at once more when it is opened, with the very address that it will connect to. So a
name that resolves to something else a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from broker.errors import Unprocessable

_RESOLVE_S = 5.0
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Ranges that stand for IPv4 addresses behind a translator, or are local though Python does not say so everywhere.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_INTERNAL = [ipaddress.ip_network(text) for text in ("0.0.0.0/8", "100.64.0.0/10", "64:ff9b:1::/48", "::/8", "fec0::/10")]


class ForbiddenAddress(OSError):
    """An upstream's address that the broker may not reach."""


class Guard:
    """``allow``: networks, addresses and host names that may be reached though they are internal, comma-separated.
    ``setting``: the one that says so."""

    def __init__(self, allow: str, *, setting: str = "BROKER_UPSTREAM_ALLOW"):
        self._setting = setting
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._hosts: set[str] = set()
        for word in filter(None, (word.strip().lower() for word in allow.split(","))):
            try:
                self._networks.append(ipaddress.ip_network(word.strip("[]"), strict=False))
            except ValueError:
                self._hosts.add(word.rstrip("."))

    def trusts(self, host: str) -> bool:
        """Whether that name may be reached wherever it leads."""
        return host.lower().rstrip(".") in self._hosts

    def permits(self, text: str) -> bool:
        """Whether that address may be reached."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        told = _meant(address)
        return any(address in network or told in network for network in self._networks) or not _internal(told)

    async def check(self, url: str) -> None:
        """Refuses a row's url that could not be called. A name that does not resolve now may do so later.
        Raises Unprocessable."""
        host = read_url(url).host or ""
        if self.trusts(host):
            return
        try:
            async with asyncio.timeout(_RESOLVE_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError):
            return
        for _, _, _, _, address in found:
            if not self.permits(address[0]):
                raise Unprocessable(f"`url`: {refusal(host, address[0], self._setting)}", param="url")

    def open_socket(self, info: tuple) -> socket.socket:
        """A socket for an address that may be reached; aiohttp asks for one before each connection."""
        family, kind, protocol, _, address = info
        if not self.permits(address[0]):
            raise ForbiddenAddress(refusal(address[0], address[0]))
        return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Resolves names as the system does, and refuses one of which any address is internal."""

    def __init__(self, guard: Guard):
        self._guard = guard
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        for one in found:
            if not self._guard.permits(one["host"]):
                raise ForbiddenAddress(refusal(host, one["host"]))
        return found

    async def close(self) -> None:
        await self._system.close()


def read_url(text: str) -> URL:
    """A row's url. Raises Unprocessable."""
    try:
        url = URL(text)
        whole = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        whole = False
    if not whole or any(not char.isprintable() or char.isspace() for char in text):
        raise Unprocessable("`url` is the address of an API, as https://api.openai.com/v1.", param="url")
    if url.raw_user is not None or url.raw_password is not None:
        raise Unprocessable("`url` holds a user or password: keep them as a secret and name it in `apiKeyRef`.", param="url")
    if url.raw_fragment:
        raise Unprocessable("`url` has a part after `#`, which is never sent: leave it out.", param="url")
    return url


def refusal(host: str, address: str, setting: str = "BROKER_UPSTREAM_ALLOW") -> str:
    where = f"{host} is" if host == address else f"{host} leads to {address},"
    return f"{where} an internal address; {setting} names those that may be called."


def _meant(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 one stands for, if it stands for one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address
    return address


def _internal(address: _Address) -> bool:
    return (
        not address.is_global or address.is_multicast or address.is_reserved
        or any(address in network for network in _INTERNAL)
    )
