"""One MCP session with a server by HTTP: opened, used for one thing, closed. The only file here that knows the SDK.

Loading it takes half a second, so that only ``http_server.py`` does, when a server is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from broker import __version__

from .failed import ToolServerFailed
from .guarded_http import ANSWER_BYTES, Way

log = logging.getLogger(__name__)

#: A server that lists in pages is asked for so many.
_PAGES = 20
_MOST_LISTED = 2000
#: What the SDK says for an HTTP status of which the server said no more.
_SDKS_OWN = ("Server returned an error response", "Not Found", "Session terminated")
_ANSWERS = TypeAdapter(CallToolResult | InputRequiredResult)

# Both write lines about every request; what matters of a failure is told to whoever asked.
logging.getLogger("httpx2").setLevel(logging.WARNING)
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)


async def hold_session(
    way: Way, spoken: str, use: Callable[[Client], Awaitable[Any]], answer: asyncio.Future
) -> None:
    """Sets ``answer`` to (what is spoken, what ``use`` gave), or to a ToolServerFailed. ``spoken``: auto · legacy · a
    version of the protocol, as an earlier answer told."""
    try:
        async with httpx2.AsyncClient(transport=way, timeout=None, trust_env=False) as http:
            stream = streamable_http_client(str(way.url), http_client=http, max_sse_event_size=ANSWER_BYTES)
            who = Implementation(name="reveille", version=__version__)
            async with Client(stream, mode=spoken, cache=None, client_info=who) as session:
                result = await use(session)
                version = session.protocol_version
                _settle(answer, (version if version in MODERN_PROTOCOL_VERSIONS else "legacy", _without(way.key, result)))
    except Exception as error:
        if not answer.done():
            answer.set_exception(ToolServerFailed(_without(way.key, _told(way, error))))
    finally:
        if not answer.done():
            answer.set_exception(ToolServerFailed("was not heard out: the call was stopped"))
        if not answer.cancelled():
            answer.exception()  # whoever asked may be gone


async def list_tools(session: Client) -> list[dict]:
    tools: list[dict] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await session.list_tools(cursor=cursor)
        tools += [
            {"name": tool.name, "title": tool.title, "description": tool.description, "inputSchema": tool.input_schema}
            for tool in page.tools
        ]
        cursor = page.next_cursor
        if not cursor or len(tools) >= _MOST_LISTED:
            break
    return tools


async def call_tool(session: Client, tool: str, arguments: dict) -> dict:
    """Without the SDK's own look at the result, for which it would list all tools at each call."""
    request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
    try:
        result = await session.session.send_request(request, _ANSWERS)
    except MCPError as error:
        if error.code != HEADER_MISMATCH:
            raise
        # Some arguments are to be repeated as headers; which ones is only told by the list.
        await session.list_tools()
        result = await session.session.send_request(request, _ANSWERS)
    if isinstance(result, InputRequiredResult):
        raise ToolServerFailed(f"asks for something that nobody can give here before it runs {tool!r}")
    return {
        "content": [block.model_dump(by_alias=True, mode="json", exclude_none=True) for block in result.content],
        "structuredContent": result.structured_content,
        "isError": result.is_error,
    }


def _settle(answer: asyncio.Future, result: Any) -> None:
    if not answer.done():
        answer.set_result(result)


def _told(way: Way, error: BaseException) -> str:
    """What went wrong, to go on after the server's name."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if way.trouble:
        return way.trouble
    if isinstance(error, ToolServerFailed):
        return str(error)
    if isinstance(error, MCPError):
        if error.code == CONNECTION_CLOSED:
            return "closed the connection before it had answered"
        if way.status >= 400 and error.message in _SDKS_OWN:
            return f"answered {way.status}: is `url` its MCP endpoint?"
        if error.message.startswith("Failed to parse"):
            return "answered something that is not MCP"
        # The key first: of one that is cut in the middle the rest would not be found.
        return f"refused the call ({_line(_without(way.key, error.message))})"
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"answered something that is not MCP ({'.'.join(map(str, first['loc'][-4:]))}: {_line(first['msg'])})"
    log.warning("tool server failed", extra={"host": way.url.host, "why": type(error).__name__})
    return f"failed ({type(error).__name__})"


def _line(text: str) -> str:
    return " ".join(text[:1000].split())[:500].rstrip(".")


def _without(key: str, value: Any) -> Any:
    """The value with the key taken out of its texts, should the server repeat it."""
    if not key:
        return value
    if isinstance(value, str):
        return value.replace(key, "***")
    if isinstance(value, dict):
        return {_without(key, name): _without(key, inner) for name, inner in value.items()}
    return [_without(key, inner) for inner in value] if isinstance(value, list) else value
