"""``POST /mcp``: the agents as tools for MCP clients. What its messages mean is in ``broker/front_mcp/``.

One POST is one message; nothing is kept between two. The answer is JSON, or a stream of events from the moment on
that the client has to wait: then it hears that the work goes on. The work ends when its client leaves.
"""

from __future__ import annotations

import asyncio
import importlib
from types import ModuleType

from aiohttp import web

from broker.errors import Refusal
from broker.front_mcp.asking import Asking
from broker.relay.inbound import event

from .bodies import JSON
from .calls import patience_of, priority_of, read_request
from .context import ID, LIMITS, PRINCIPAL, RELAY, STORE, TOOLBOXES, TURNS
from .middleware import REQUEST_ID, allow_origin

EVENTS = "text/event-stream"
_STREAM_HEADERS = {"Content-Type": f"{EVENTS}; charset=utf-8", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
_WAITING = b": waiting\n\n"


class NotInstalled(Refusal):
    """This broker cannot speak MCP: run `pip install 'reveille[agents]'` where it runs, and start it again."""

    status = 501
    code = "mcp_not_installed"


class NotAcceptable(Refusal):
    """The header Accept must allow application/json, and text/event-stream for answers that take their time."""

    status = 406
    code = "not_acceptable"


async def message(request: web.Request) -> web.StreamResponse:
    accepted = request.headers.get("Accept", "*/*").lower()
    if not _allows(accepted, JSON):
        raise NotAcceptable()
    body = await read_request(request)
    protocol = await _protocol()
    asked = protocol.read(body, list(request.headers.items()))
    if isinstance(asked, protocol.Reply):
        return _whole(asked)
    asking = _asking(request)
    work = asyncio.ensure_future(protocol.serve(asked, asking))
    work.add_done_callback(lambda _: asking.stirred.set())
    try:
        return await _answer(request, asked, asking, work, may_stream=_allows(accepted, EVENTS))
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def _asking(request: web.Request) -> Asking:
    app = request.app
    return Asking(
        app[STORE].agents, app[STORE].threads, app[RELAY], app[TOOLBOXES], app[TURNS], owner=request[PRINCIPAL].owner,
        request_id=request[ID], patience=patience_of(request, app[LIMITS]), max_iterations=app[LIMITS].max_iterations,
        priority=priority_of(request), may_wake=request[PRINCIPAL].may_wake,
    )


async def _protocol() -> ModuleType:
    """Loaded by the first request that needs it: most brokers never do. It takes half a second, in which others go on."""
    try:
        return await asyncio.to_thread(importlib.import_module, "broker.front_mcp.protocol")
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise NotInstalled() from None


async def _answer(request: web.Request, asked, asking: Asking, work: asyncio.Future, *, may_stream: bool) -> web.StreamResponse:
    limits = request.app[LIMITS]
    loop = asyncio.get_running_loop()
    comments = may_stream and request.headers.get("X-Wait-Comments", "").lower() != "off"
    due = loop.time() + limits.comment_first_s if comments else None
    response: web.StreamResponse | None = None
    said = 0
    while True:
        try:
            async with asyncio.timeout_at(due):
                await asking.stirred.wait()
        except TimeoutError:
            pass
        asking.stirred.clear()
        if work.done():
            break
        waited = due is not None and loop.time() >= due
        sign = asked.progress(said + 1, asking.doing) if may_stream else b""
        if not (sign or waited):
            continue
        said += 1
        response = response or await _open(request)
        await _write(response, event(sign) if sign else _WAITING, limits.patience.idle_s)
        due = loop.time() + limits.comment_every_s if comments else None
    if response is None:
        return _whole(work.result())
    await _write(response, event(work.result().body), limits.patience.idle_s)
    await response.write_eof()
    return response


async def _open(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={**_STREAM_HEADERS, REQUEST_ID: request[ID]})
    allow_origin(request, response, request.headers.get("Origin", ""))
    await response.prepare(request)
    return response


async def _write(response: web.StreamResponse, data: bytes, within_s: float) -> None:
    """A client that takes nothing for that long is as good as gone."""
    try:
        async with asyncio.timeout(within_s):
            await response.write(data)
    except TimeoutError:
        raise ConnectionResetError("the client does not read") from None


def _whole(reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, content_type=JSON if reply.body else None)


def _allows(accepted: str, kind: str) -> bool:
    """Whether an Accept header, in small letters, allows that content type."""
    kinds = {part.partition(";")[0].strip() for part in accepted.split(",")}
    return not kinds.isdisjoint((kind, kind.partition("/")[0] + "/*", "*/*"))
