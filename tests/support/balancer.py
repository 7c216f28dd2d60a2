"""A TCP balancer as small as can be: each connection goes to the first address that answers.

It stands for the proxy that people put before their replicas; it knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class _End(asyncio.Protocol):
    """One end of a connection through the balancer; what it hears goes to ``other``."""

    def __init__(self, ends: set[_End], other: _End | None = None):
        self.other = other
        self.transport: asyncio.Transport | None = None
        self.early: list[bytes] = []
        self._ends = ends

    def connection_made(self, transport) -> None:
        self.transport = transport
        self._ends.add(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, error) -> None:
        self._ends.discard(self)
        if self.other is not None:
            self.other.transport.close()


class _Front(_End):
    """The client's end; the other is made when it connects."""

    def __init__(self, ends: set[_End], urls: tuple[str, ...]):
        super().__init__(ends)
        self._urls = urls
        self._connecting: asyncio.Task | None = None

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        for url in self._urls:
            address = urlsplit(url)
            with suppress(OSError):
                _, behind = await loop.create_connection(
                    lambda: _End(self._ends, self), address.hostname, address.port
                )
                behind.transport.write(b"".join(self.early))
                self.other = behind
                if self.transport.is_closing():
                    behind.transport.close()
                return
        self.transport.close()


@asynccontextmanager
async def balancer(*urls: str) -> AsyncIterator[str]:
    """Its own address. The order of ``urls`` is the order of preference."""
    ends: set[_End] = set()
    server = await asyncio.get_running_loop().create_server(lambda: _Front(ends, urls), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for end in list(ends):
            end.transport.abort()
        while ends:
            await asyncio.sleep(0)
