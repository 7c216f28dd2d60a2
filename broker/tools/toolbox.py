"""The tools of one agent, open for one answer: what its LLM may call, and the calls.

Opening and calling never fail: a server that is away is a warning, a call that goes wrong an answer that says
so. Every call is bounded in time and in size. Nothing is kept for an agent between two answers.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from .allow import AllowList, is_among
from .catalog import Catalog
from .content import ToolAnswer, answer_of, cut
from .failed import ToolServerFailed
from .http_server import HttpServers
from .publisher_server import PublisherServers
from .servers import Server, read_servers
from .vetting import Tool

log = logging.getLogger(__name__)

#: More than these tools of one agent are not told to its LLM.
MOST_TOOLS = 128
#: Whoever asks the agent waits for this. An older server may need ten of them to be found out as one.
LIST_S = 15.0


class Place(NamedTuple):
    """Where a tool is."""

    server: Server
    tool: str


class Toolboxes:
    """One per replica. ``seconds``: longest call of a tool where its server has no limit of its own. ``result_bytes``: most
    of a result that an LLM gets."""

    def __init__(self, http: HttpServers, publishers: PublisherServers, *, seconds: float, result_bytes: int):
        self._http = http
        self._publishers = publishers
        self._seconds = seconds
        self._result_bytes = result_bytes
        self._catalog = Catalog(self._list)

    async def open(self, servers: bytes, extras: bytes, owner: str) -> Tools:
        """The tools of an agent with these project servers (JSON list) and ``extras`` (JSON object). Raises nothing but
        CancelledError; with no server there is no wait."""
        if servers in (b"[]", b""):
            return NO_TOOLS
        try:
            named, allowed = read_servers(servers), AllowList.read(extras)
        except msgspec.MsgspecError:
            return Tools(warnings=["The project's tool servers cannot be read, so there are no tools: set `mcpServers` again."])
        except ValueError as error:
            return Tools(warnings=[f"The agent has no tools: {error}."])
        tools = Tools(owner=owner, toolboxes=self)
        for name in allowed.strangers(server.name for server in named):
            tools.warnings.append(f"`extras.tools` names {name[:80]!r}, which is no tool server of the project.")
        wanted = [server for server in named if server.tools != () and allowed.has_server(server.name)]
        offers = await asyncio.gather(*(self._catalog.offer(server, owner) for server in wanted), return_exceptions=True)
        for server, offer in zip(wanted, offers, strict=True):
            if isinstance(offer, ToolServerFailed):
                tools.warnings.append(f"The tool server {server.name!r} {offer}. Its tools are missing.")
            elif isinstance(offer, asyncio.CancelledError):
                raise offer  # this replica shuts down
            elif isinstance(offer, BaseException):
                log.error("bug", exc_info=offer, extra={"tool_server": server.name})
                tools.warnings.append(f"The tools of {server.name!r} are missing: the broker made a mistake; its log says more.")
            else:
                tools.warnings += offer.warnings
                tools.take(server, [tool for tool in offer.tools if is_among(server.tools, tool.name) and allowed.has(server.name, tool.name)])
        return tools

    async def call(self, place: Place, arguments: dict, owner: str, request_id: str) -> ToolAnswer:
        """One call. Raises nothing but CancelledError."""
        server = place.server
        limit_s = server.timeout_seconds or self._seconds
        try:
            async with asyncio.timeout(limit_s):
                result = await self._servers(server).call(server, place.tool, arguments, owner, request_id, limit_s)
            return answer_of(result, self._result_bytes)
        except TimeoutError:
            text = f"The tool {place.tool!r} of {server.name!r} did not answer within {limit_s:g} s and was stopped."
        except ToolServerFailed as failed:
            text = f"The tool server {server.name!r} {failed}."
        except Exception:
            log.exception("bug", extra={"tool_server": server.name})
            text = f"The tool {place.tool!r} of {server.name!r} failed: the broker made a mistake; its log says more."
        self._catalog.drop(server)
        return ToolAnswer(cut(text, self._result_bytes), is_error=True)

    async def close(self) -> None:
        await self._catalog.close()
        await self._http.close()

    async def _list(self, server: Server, owner: str) -> list[Any]:
        limit_s = min(LIST_S, server.timeout_seconds or self._seconds)
        try:
            async with asyncio.timeout(limit_s):
                return await self._servers(server).list(server, owner, limit_s)
        except TimeoutError:
            raise ToolServerFailed(f"did not list its tools within {limit_s:g} s") from None

    def _servers(self, server: Server) -> HttpServers | PublisherServers:
        return self._publishers if server.tool_server else self._http


@dataclass(slots=True)
class Tools:
    """``specs``: as OpenAI's API lists tools. ``warnings``: sentences about what is missing, and why."""

    specs: list[dict] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    owner: str = ""
    toolboxes: Toolboxes | None = None
    places: dict[str, Place] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return name in self.places

    async def call(self, name: str, arguments: str, request_id: str) -> ToolAnswer:
        """The answer of the tool of that name in ``specs``; ``arguments``: a JSON object, as the LLM wrote it. Raises nothing
        but CancelledError."""
        place = self.places.get(name)
        if place is None or self.toolboxes is None:
            return ToolAnswer(f"There is no tool {name[:100]!r}.", is_error=True)
        read = _read(arguments)
        if read is None:
            return ToolAnswer(f"The arguments for {name!r} are not a JSON object; call it again with one.", is_error=True)
        return await self.toolboxes.call(place, read, self.owner, request_id)

    def take(self, server: Server, tools: list[Tool]) -> None:
        """Adds a server's tools, as far as there is room."""
        for at, tool in enumerate(tools):
            if len(self.specs) >= MOST_TOOLS:
                left = len(tools) - at
                self.warnings.append(
                    f"An agent has at most {MOST_TOOLS} tools: {left:,} of {server.name!r} were left out; name those that it needs "
                    "in `tools` of the server, or in `extras.tools` of the agent."
                )
                return
            self.specs.append(tool.spec)
            self.places[tool.spec_name] = Place(server, tool.name)


#: Of an agent without any.
NO_TOOLS = Tools()


def _read(arguments: str) -> dict | None:
    """What an LLM wrote as arguments; None: no JSON object. Some write nothing when there is nothing to say."""
    if not arguments.strip():
        return {}
    try:
        msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
        return json.loads(arguments)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
