"""A broker that breaks its own protocol, call by call, as a test wants it, and can be well again.

``broken["heartbeat"] = FAULTS["html"]`` spoils every heartbeat from then on; the
calls are those of ``FakeBroker``. Some faults are answers, some are bytes that no
broker sends, some are nothing at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.support.fake_broker import FakeBroker

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECRET = "secret-in-a-query"


class BrokenBroker(FakeBroker):
    def __init__(self, heartbeat_s: float = 30.0) -> None:
        super().__init__(heartbeat_s)
        self.broken: dict[str, Fault] = {}

    async def _noted(self, call: str, request: web.Request) -> web.StreamResponse | None:
        refusal = await super()._noted(call, request)
        if call in self.broken:
            return await self.broken[call](request)
        return refusal

    def spoiled(self, call: str) -> int:
        """How often it was called."""
        return self.calls.count(call)


def says(status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> Fault:
    async def fault(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, content_type=kind, headers=headers)

    return fault


def writes(data: bytes) -> Fault:
    """Those bytes in place of an answer, and the end of the connection."""

    async def fault(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.write(data)
            request.transport.close()
        raise ConnectionResetError

    return fault


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()


async def resets(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


def endless(status: int, kind: str = "application/json") -> Fault:
    """As fast as it is taken."""

    async def fault(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=status, headers={"Content-Type": kind})
        await answer.prepare(request)
        while True:
            await answer.write(b" " * (1 << 20))

    return fault


ERROR = b'{"error": {"message": "no such thing", "code": "scripted"}}'
DEEP = b"[" * 100_000

#: By name, what any call may be answered with.
FAULTS: dict[str, Fault] = {
    "401": says(401, ERROR),
    "403": says(403, ERROR),
    "404": says(404, ERROR),
    "404 html": says(404, b"<h1>Not Found</h1>", "text/html"),
    "405": says(405, b"", "text/plain"),
    "409": says(409, ERROR),
    "500": says(500, ERROR),
    "502 html": says(502, b"<h1>Bad Gateway</h1>", "text/html"),
    "redirect": says(302, b"", Location=f"https://login.example/?state={SECRET}"),
    "html": says(200, b"<h1>Welcome to nginx!</h1>", "text/html"),
    "204": says(204),
    "empty": says(200),
    "nonsense": says(200, b'{"hello": ["world"], "results": 7, "providerSessionId": []}'),
    "null": says(200, b"null"),
    "deep": says(200, DEEP),
    "no text": says(200, b'{"results": [{"taskId": "\xff\xfe"}], "providerSessionId": "\xff"}'),
    "deep error": says(403, DEEP),
    "error that is no text": says(403, b'{"error": {"message": "\xff\xfe", "code": "\xff"}}'),
    "half": writes(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"results\": ["),
    "half a head": writes(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "ssh": writes(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "long header": writes(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n"),
    "gzip that is none": writes(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
    "no protocol": writes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
    "closes": writes(b""),
    "resets": resets,
    "hangs": hangs,
    "endless": endless(200),
    "endless error": endless(403),
}
