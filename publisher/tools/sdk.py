"""All that the MCP SDK does for us: opening a connection, a list of tools, a call. The only file that loads it.

Answers are passed on as the server said them; whether they keep to a tool's own schema is its callers' matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import anyio
import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from broker import __version__
from publisher.tools.failed import ToolFailed
from publisher.tools.process import ToolProcess

PAGES = 100
WORDS = 500  # of a server's own, told to callers
#: Said by a server that is too new for the usual handshake.
TOO_NEW = (types.UNSUPPORTED_PROTOCOL_VERSION, types.METHOD_NOT_FOUND)

logging.getLogger("mcp").setLevel(logging.CRITICAL)  # what is to be said is said here, without tracebacks


class Handshake(Exception):
    """The server takes the newer one only."""


@contextlib.asynccontextmanager
async def opened(transport: AbstractAsyncContextManager, newer: bool) -> AsyncIterator[ClientSession]:
    """A session over that transport. Raises ``Handshake`` when it is to be opened anew as a ``newer`` one.

    The older handshake comes first: servers of that age may end at a question that they do not know.
    """
    about = types.Implementation(name="reveille-publisher", version=__version__)
    client = Client(transport, mode="auto" if newer else "legacy", client_info=about, cache=None)
    try:
        await client.__aenter__()
    except MCPError as err:
        if not newer and err.error.code in TOO_NEW:
            raise Handshake from None
        raise
    try:
        yield client.session
    finally:
        await client.__aexit__(None, None, None)


@contextlib.asynccontextmanager
async def over(process: ToolProcess) -> AsyncIterator[tuple]:
    """A process's lines as the SDK's streams. The process is the caller's to end."""
    heard, hear = anyio.create_memory_object_stream(0)
    say, said = anyio.create_memory_object_stream(0)

    async def listen() -> None:
        async with heard:
            while (line := await process.line()) is not None:
                # Some print other things there; nothing of it is meant for us.
                with contextlib.suppress(ValueError):
                    await heard.send(SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False)))

    async def speak() -> None:
        async with said:
            async for one in said:
                process.write(one.message.model_dump_json(by_alias=True, exclude_unset=True).encode())

    async with anyio.create_task_group() as tasks, hear, say:
        tasks.start_soon(listen)
        tasks.start_soon(speak)
        try:
            yield hear, say
        finally:
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def at(url: str, way: Way, timeout_s: float) -> AsyncIterator[tuple]:
    """The SDK's streams to a server at that address: called directly, whatever proxies the environment names."""
    timeout = httpx2.Timeout(timeout_s, read=None)
    headers = {"accept-encoding": "identity"}
    async with httpx2.AsyncClient(transport=way, timeout=timeout, trust_env=False, headers=headers) as http:
        async with streamable_http_client(url, http_client=http, max_sse_event_size=way.most_bytes) as streams:
            yield streams


class Way(httpx2.AsyncBaseTransport):
    """To a server at an address. No answer is read beyond that size, and none is unpacked: a small one may become
    gigabytes. ``trouble``: what was wrong with one, '' for nothing."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.trouble = ""
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and "last-event-id" not in request.headers:
            # The stream for what a server says unasked: nobody here would listen.
            return httpx2.Response(405, request=request)
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            await response.aclose()
            raise self.failed("compresses its answer, though it was asked not to")
        response.stream = Counted(response.stream, self)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    def failed(self, trouble: str) -> httpx2.ReadError:
        self.trouble = trouble
        return httpx2.ReadError(trouble)


class Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, way: Way) -> None:
        self._inner = inner
        self._way = way
        self._left = way.most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for block in self._inner:
            self._left -= len(block)
            if self._left < 0:
                raise self._way.failed(f"answered more than {self._way.most_bytes >> 20} MiB and was stopped: ask for less at a time")
            yield block

    async def aclose(self) -> None:
        await self._inner.aclose()


async def asked(session: ClientSession, tool: str | None, arguments: dict | None, most_bytes: int) -> bytes:
    """The JSON of a tool's result, or, for ``None``, of the list of all tools. Raises ``ToolFailed``;
    ``ConnectionError`` when the connection is gone."""
    try:
        if tool is None:
            return await every_tool(session, most_bytes)
        call = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=arguments))
        result = await session.send_request(call, types.CallToolResult)
        return result.model_dump_json(by_alias=True, exclude_unset=True).encode()
    except MCPError as err:
        if err.error.code == types.CONNECTION_CLOSED:
            raise ConnectionError from None
        if err.error.message.startswith("Failed to parse"):  # the SDK's, with a piece of the answer
            raise ToolFailed(502, "answered what is not MCP") from None
        raise ToolFailed(400, "refused the call", " ".join(err.error.message[: 2 * WORDS].split())[:WORDS]) from None
    except (ValidationError, RuntimeError) as err:
        raise ToolFailed(502, f"answered what the protocol does not know ({type(err).__name__})") from None
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        raise ConnectionError from None


async def every_tool(session: ClientSession, most_bytes: int) -> bytes:
    tools, cursor, size = [], None, 0
    for _ in range(PAGES):
        page = await session.send_request(
            types.ListToolsRequest(params=types.PaginatedRequestParams(cursor=cursor)), types.ListToolsResult
        )
        for tool in page.tools:
            tools.append(tool.model_dump_json(by_alias=True, exclude_unset=True).encode())
            size += len(tools[-1])
        cursor = page.next_cursor
        if cursor is None:
            break
        if size > most_bytes:
            raise ToolFailed(502, f"has a list of tools that is larger than {most_bytes >> 20} MiB")
        await asyncio.sleep(0)
    return b'{"tools":[%s]}' % b",".join(tools)
