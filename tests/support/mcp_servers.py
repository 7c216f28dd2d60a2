"""MCP servers of a test, on this machine: real ones made with the official SDK, and ones that are written by hand to
behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import uvicorn
from aiohttp import web
from mcp.server.mcpserver import Image, MCPServer

from tests.support.ending import end


class McpServer:
    """A running server. ``seen``: (method, headers) of each HTTP request. ``asked``: the methods of MCP that a handmade one was
    asked. ``url``: its endpoint."""

    def __init__(self, url: str):
        self.url = url
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.asked: list[str] = []

    def methods(self) -> list[str]:
        return [method for method, _ in self.seen]


def notebook() -> MCPServer:
    """A server with a few tools: ``add``, ``say``, ``fail``, ``image``, ``sleep``."""
    server = MCPServer("notebook")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @server.tool()
    def say(text: str, times: int = 1) -> str:
        """Says a text."""
        return text * times

    @server.tool()
    def fail() -> str:
        """Fails."""
        raise ValueError("no such page")

    @server.tool()
    def image() -> Image:
        """A picture."""
        return Image(data=b"\x89PNG" * 100, format="png")

    @server.tool()
    async def sleep(seconds: float) -> str:
        """Sleeps."""
        await asyncio.sleep(seconds)
        return "slept"

    return server


@asynccontextmanager
async def serving(server: MCPServer, *, legacy: bool = False, **options) -> AsyncIterator[McpServer]:
    """Serves it by streamable HTTP. ``legacy``: as a server from before 2026, which has sessions."""
    app = server.streamable_http_app(**options)
    # Of a socket that does not say TCP the loop would not know that its small pieces are to leave at once.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    there = McpServer(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp")

    async def heard(scope, receive, send):
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            there.seen.append((scope["method"], headers))
            if legacy and headers.get("mcp-protocol-version", "").startswith("2026"):
                await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain")]})
                await send({"type": "http.response.body", "body": b"Bad Request: Unsupported protocol version"})
                return
        await app(scope, receive, send)

    config = uvicorn.Config(heard, log_level="critical", ws="none", lifespan="on", timeout_graceful_shutdown=0)
    running = uvicorn.Server(config)
    running.capture_signals = contextlib.nullcontext
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(10):
            while not running.started:
                await asyncio.sleep(0.01)
        yield there
    finally:
        running.should_exit = running.force_exit = True
        await task
        listener.close()


Answer = Callable[[web.Request, dict], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def handmade(
    tools: list | None = None, *, call: Answer | None = None, discover: Answer | None = None, any_request: Answer | None = None
) -> AsyncIterator[McpServer]:
    """A server written by hand, which speaks the protocol of 2025 and lists ``tools`` whatever they are. ``call`` answers
    ``tools/call``, ``discover`` what servers of 2026 are asked first; ``any_request`` answers everything."""
    there = McpServer("")

    async def handle(request: web.Request) -> web.StreamResponse:
        there.seen.append((request.method, dict(request.headers)))
        asked = json.loads(await request.read() or b"{}")
        if any_request:
            return await any_request(request, asked)
        method = asked.get("method")
        there.asked.append(method)
        if "id" not in asked:
            return web.Response(status=202)
        if method == "initialize":
            return result(asked, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "hand", "version": "1"}})
        if method == "tools/list":
            return result(asked, {"tools": tools or []})
        if method == "tools/call" and call:
            return await call(request, asked)
        if method == "server/discover" and discover:
            return await discover(request, asked)
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "Method not found"}}, status=404)

    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    # A call whose client leaves ends here too, as at a server of the SDK.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    there.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/mcp"
    try:
        yield there
    finally:
        await end(runner)


def result(asked: dict, value: object) -> web.Response:
    """A JSON-RPC answer to that request."""
    return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": value})


def tool(name: str, **more) -> dict:
    """A tool as a server lists it."""
    return {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object", "properties": {}}, **more}
