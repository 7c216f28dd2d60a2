"""Tool servers at publishers: reading them as they are now, and deleting one.

They are rows of the LLM family under ``_tools/<name>``, so that they are registered, heartbeat,
adopted, swept and given tasks by the scripts that do so for LLMs. No lookup of an LLM finds one.
"""

from __future__ import annotations

from broker.model import ToolServer
from broker.unknown import UnknownToolServer
from broker.wire import TOOLS

from .rows import Rows
from .scripts import Scripts


class ToolServers:
    def __init__(self, rows: Rows, scripts: Scripts, *, stale_ms: int, expire_ms: int):
        self._rows = rows
        self._scripts = scripts
        self._ages = (stale_ms, expire_ms)

    async def all(self) -> list[ToolServer]:
        """Every tool server that is there, by name."""
        return [ToolServer.read(row) for row in await self._rows.all("llm") if row["name"].startswith(TOOLS)]

    async def named(self, names: list[str]) -> list[ToolServer]:
        """Those of the names that there are."""
        return [ToolServer.read(row) for row in await self._rows.read("llm", [(TOOLS + name).encode() for name in names])]

    async def tool_server(self, key: str) -> ToolServer:
        """The tool server of that id, else of that name. Raises UnknownToolServer."""
        row = await self._rows.one("llm", key)
        if row is not None and row["id"] == key and row["name"].startswith(TOOLS):
            return ToolServer.read(row)
        for found in await self.named([key]):
            return found
        raise UnknownToolServer(f"There is no tool server {key!r}; GET /api/v1/tool-servers lists those that there are.")

    async def delete(self, key: str, *, owner: str | None) -> None:
        """``owner`` None: an admin's call. Raises UnknownToolServer (also for another owner's)."""
        found = await self.tool_server(key)
        verdict, *_ = await self._scripts.run("llm_delete", TOOLS + found.name, owner or "", *self._ages)
        if verdict == b"unknown":
            raise UnknownToolServer(f"There is no tool server {key!r} of yours.")
