"""Notices that the machine slept, or that its network is another one now.

Connections are of no use after either, and nothing says so: the peer's silence
would have to be waited for. It only looks and tells; it sends no packet, and
closes no connection.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable

SLEPT_S = 5.0  # shorter sleeps do a connection no harm
RESOLVE_S = 5.0

Target = tuple[int, tuple]  # address family, socket address

if sys.platform == "linux":

    def asleep_s() -> float:
        """How long the machine has slept since its start. Only the difference of two answers means something."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)

elif sys.platform == "darwin":

    def asleep_s() -> float:
        return time.clock_gettime(time.CLOCK_MONOTONIC) - time.clock_gettime(time.CLOCK_UPTIME_RAW)

elif sys.platform == "win32":

    def asleep_s() -> float:
        import ctypes

        awake = ctypes.c_ulonglong()  # in units of 100 ns
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(awake))
        return time.monotonic() - awake.value / 1e7

else:

    def asleep_s() -> float:
        return time.time() - time.monotonic()  # setting the clock looks like a sleep: that does no harm


async def resolve(host: str, port: int) -> list[Target]:
    """Raises ``OSError``."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return [(family, address) for family, _, _, _, address in found]


def local_address(target: Target) -> str | None:
    """Our own address on the way there; ``None`` without a way. Connecting a UDP socket sends nothing."""
    family, address = target
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            return probe.getsockname()[0]
    except OSError:
        return None


class Roaming:
    """``host`` and ``port``: whom the connections go to, the broker or its proxy."""

    def __init__(
        self,
        host: str,
        port: int,
        every_s: float = 2.0,
        asleep_s: Callable[[], float] = asleep_s,
        resolve: Callable[[str, int], Awaitable[list[Target]]] = resolve,
        local_address: Callable[[Target], str | None] = local_address,
        resolve_s: float = RESOLVE_S,
    ) -> None:
        self._host = host
        self._port = port
        self._every_s = every_s
        self._asleep_s = asleep_s
        self._resolve = resolve
        self._local_address = local_address
        self._resolve_s = resolve_s
        self._targets: list[Target] = []
        self._resolving: asyncio.Task[list[Target]] | None = None

    async def run(self, on_move: Callable[[str], None]) -> None:
        """For ever. ``on_move`` is told what happened, in words for a log line."""
        try:
            asleep_s, here = self._asleep_s(), await self._here()
            while True:
                await asyncio.sleep(self._every_s)
                slept_s = self._asleep_s() - asleep_s
                now = await self._here()
                moved = self._said(slept_s, here, now)
                asleep_s, here = self._asleep_s(), now
                if moved:
                    on_move(moved)
                    # The name may mean another address in this network, and that another own one.
                    self._targets = []
                    if here is not None:
                        here = await self._here() or here
        finally:
            if self._resolving is not None:
                self._resolving.cancel()
                await asyncio.wait([self._resolving])

    def _said(self, slept_s: float, before: str | None, now: str | None) -> str:
        if slept_s > SLEPT_S:
            return f"the machine slept for {slept_s:.0f} s"
        if now is None or now == before:
            return ""  # without a network there is nowhere to reconnect to
        return "the network is there" if before is None else "the network has changed"

    async def _here(self) -> str | None:
        if not self._targets:
            self._targets = await self._resolved()
        return next((found for target in self._targets if (found := self._local_address(target))), None)

    async def _resolved(self) -> list[Target]:
        """Empty when it takes too long. A resolver that hangs is not asked again meanwhile: each asks on a thread."""
        if self._resolving is None:
            self._resolving = asyncio.ensure_future(self._resolve(self._host, self._port))
        await asyncio.wait([self._resolving], timeout=self._resolve_s)
        if not self._resolving.done():
            return []
        answer, self._resolving = self._resolving, None
        # A name too long to be one is a ``UnicodeError``.
        return [] if isinstance(answer.exception(), (OSError, UnicodeError)) else answer.result()
