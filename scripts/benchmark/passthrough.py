"""A bare pass-through on aiohttp and uvloop: the least a Python gateway can cost.

`python -m benchmark.passthrough PORT BACKEND_URL`. It hands a request to the
backend and the answer back, streams as they come, and does nothing else.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web


class PassThrough:
    """One upstream, one client session."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._session = session

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        url = self._upstream + request.path
        async with self._session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            if answer.content_length is not None:
                return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)
            out = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await out.prepare(request)
            async for data in answer.content.iter_any():
                await out.write(data)
            await out.write_eof()
            return out


async def serve(port: int, upstream: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", PassThrough(upstream, session).handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=2048).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
