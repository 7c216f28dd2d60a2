"""A webhook's other end: what it was told, and whether it says that it heard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.ending import end


@dataclass
class HookReceiver:
    """``told``: of each task the events' (id, type). ``hears``: whether it answers 200, or 500."""

    hears: Callable[[], bool]
    url: str = ""
    told: dict[str, set[tuple[str, str]]] = field(default_factory=dict)


@asynccontextmanager
async def hook_receiver(hears: Callable[[], bool]) -> AsyncIterator[HookReceiver]:
    made = HookReceiver(hears)

    async def hear(request: web.Request) -> web.Response:
        event = await request.json()
        made.told.setdefault(event["data"]["id"], set()).add((event["id"], event["type"]))
        return web.Response(status=200 if made.hears() else 500)

    app = web.Application()
    app.router.add_post("/hook", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"
        yield made
    finally:
        await end(runner)
