"""What each server offers, remembered for a minute.

One listing at a time for a server: whoever needs it meanwhile waits for the same one. What a server offers is asked
anew after an error. Each replica remembers for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .failed import ToolServerFailed
from .servers import Server
from .vetting import Offer, vetted

FRESH_S = 60.0
#: A server that takes long to fail is not tried again for so long, or it would hold up every answer.
FAILED_S = 10.0
_SLOW_S = 1.0
_MOST = 1000


class Catalog:
    """``ask``: asks a server for its tools, as MCP lists them; raises ToolServerFailed."""

    def __init__(self, ask: Callable[[Server, str], Awaitable[list[Any]]]):
        self._ask = ask
        self._known: dict[Server, tuple[float, Offer | ToolServerFailed]] = {}
        self._listings: dict[Server, asyncio.Task] = {}

    async def offer(self, server: Server, owner: str) -> Offer:
        """Raises ToolServerFailed."""
        until, known = self._known.get(server, (0.0, None))
        if known is None or until <= asyncio.get_running_loop().time():
            known = await asyncio.shield(self._listings.get(server) or self._start(server, owner))
        if isinstance(known, ToolServerFailed):
            raise ToolServerFailed(*known.args)
        return known

    def drop(self, server: Server) -> None:
        """The next who needs its offer asks the server."""
        self._known.pop(server, None)

    async def close(self) -> None:
        for listing in self._listings.values():
            listing.cancel()
        await asyncio.gather(*self._listings.values(), return_exceptions=True)

    def _start(self, server: Server, owner: str) -> asyncio.Task:
        listing = self._listings[server] = asyncio.create_task(self._list(server, owner))
        listing.add_done_callback(lambda _: self._listings.pop(server, None))
        return listing

    async def _list(self, server: Server, owner: str) -> Offer | ToolServerFailed:
        """A failure is answered, not raised: nobody may be there any more to hear it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        found: Offer | ToolServerFailed
        try:
            listed = await self._ask(server, owner)
            # Not on the loop: thousands of tools take seconds to look through.
            found = await asyncio.to_thread(vetted, server.name, listed)
        except ToolServerFailed as failed:
            found = failed
        now = loop.time()
        if isinstance(found, Offer):
            self._remember(server, now + FRESH_S, found)
        elif now - began > _SLOW_S:
            self._remember(server, now + FAILED_S, found)
        else:
            self.drop(server)
        return found

    def _remember(self, server: Server, until: float, found: Offer | ToolServerFailed) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[server] = (until, found)
