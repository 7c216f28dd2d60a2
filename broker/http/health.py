"""Whether this replica lives, whether it is ready, and what it counts."""

from __future__ import annotations

from aiohttp import web

from broker import __version__
from broker.errors import Unavailable
from broker.store.rows import Rows

from .bodies import reply
from .context import DRAINING, METRICS, RELAY, STORE


class NotReady(Unavailable):
    """This replica takes no new requests: it is shutting down."""

    code = "not_ready"


async def healthz(request: web.Request) -> web.Response:
    return reply({"status": "ok", "version": __version__})


async def readyz(request: web.Request) -> web.Response:
    if request.app[DRAINING]:
        raise NotReady()
    await request.app[STORE].ping()
    return reply({"status": "ready"})


async def metrics(request: web.Request) -> web.Response:
    rows: Rows = request.app[STORE].rows
    text = request.app[METRICS].text(running=request.app[RELAY].running, llms=await rows.llms())
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
