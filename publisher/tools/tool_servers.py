"""The tool servers that are published now. One whose config is unchanged goes on undisturbed by a reload."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from broker.wire import TOOLS, ToolServerEntry
from publisher.activity import Activity
from publisher.config.values import ToolServer as Told
from publisher.status import RowStatus
from publisher.tools.installed import NEEDED, sdk_is_here

if TYPE_CHECKING:
    from publisher.tools.tool_server import ToolServer

log = logging.getLogger("publisher")


class ToolServers:
    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._servers: dict[str, ToolServer] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def __iter__(self):
        return iter(list(self._servers.values()))

    def __len__(self) -> int:
        return len(self._servers)

    def get(self, name: str) -> ToolServer | None:
        """By the name that frames have, ``_tools/…``."""
        return self._servers.get(name)

    @property
    def entries(self) -> tuple[ToolServerEntry, ...]:
        return tuple(server.told.entry() for server in self)

    def set(self, told: Iterable[Told]) -> None:
        """From now on exactly these. Without the SDK none is published, and it is said what is missing."""
        wanted = {TOOLS + one.name: one for one in told}
        if wanted and not sdk_is_here():
            log.error("no tool server is published: %s", NEEDED)
            wanted = {}
        before, self._servers = self._servers, {}
        for name, one in wanted.items():
            kept = before.pop(name, None)
            if kept is not None and kept.told != one:
                self._retire(kept)
                kept = None
            self._servers[name] = kept or self._made(one)
        for gone in before.values():
            self._retire(gone)

    async def stop(self) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, *(server.stop() for server in self), return_exceptions=True)

    def rows(self, activity: Activity) -> list[RowStatus]:
        return [_row(server, activity) for server in self]

    def _made(self, told: Told) -> ToolServer:
        from publisher.tools.tool_server import ToolServer  # only here: most publishers have none

        return ToolServer(told, self._start_s)

    def _retire(self, server: ToolServer) -> None:
        task = asyncio.create_task(_retired(server), name=f"retire {server.name}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)


async def _retired(server: ToolServer) -> None:
    try:
        await server.retire()
    except asyncio.CancelledError:
        await server.stop()
        raise


def _row(server: ToolServer, activity: Activity) -> RowStatus:
    tally, now = activity.tally(server.name), time.monotonic()
    return RowStatus(
        name=server.name, model="", type="mcp", url=server.told.url, state=server.state, aliases=[server.told.name],
        slots=server.slots.limit, running=server.slots.running, waiting=server.slots.waiting,
        requests=tally.requests, failed=tally.failed, state_since_s=now - server.since, sleeps_in_s=server.stops_in_s,
        last_error=tally.last_error, last_error_ago_s=now - tally.last_error_at if tally.last_error_at else None,
        log_file=str(server.log_file) if server.log_file else None,
    )
