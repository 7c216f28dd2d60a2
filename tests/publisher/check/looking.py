"""What the tests of the checks share: findings in short, and little servers that answer as told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

from aiohttp import web

from publisher.check.finding import Finding

from tests.support.ending import end


def short(found: Iterable[Finding]) -> list[str]:
    """``level: what | remedy``"""
    return [f"{one.level}: {one.what}" + (f" | {one.remedy}" if one.remedy else "") for one in found]


def levels(found: Iterable[Finding]) -> list[str]:
    return [one.level for one in found]


@contextlib.asynccontextmanager
async def answering(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[str]:
    """A server that answers everything by that; yields its address."""

    async def handler(request: web.Request) -> web.Response:
        return answer(request)

    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await end(runner)
