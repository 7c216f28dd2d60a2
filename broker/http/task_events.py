"""``/api/v1/tasks/<id>/events``: what happens to a durable task, as SSE, from any event on, at any replica, to its end.

``event: state`` has the task as JSON; what the LLM says of a streamed answer comes as its own events between them.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from broker.errors import Refusal, Unprocessable
from broker.relay.job_events import After, JobEvent
from broker.relay.job_told import told
from broker.relay.numbering import BadEventId

from .context import DURABLE, ID, LIMITS
from .middleware import REQUEST_ID, allow_origin
from .tasks import found


async def events(request: web.Request) -> web.StreamResponse:
    """All after the event ``?after=``, or ``Last-Event-ID`` as browsers send it; without either from the beginning."""
    try:
        after = After.read(request.query.get("after") or request.headers.get("Last-Event-ID", ""))
        job = await found(request)
        await request.app[DURABLE].events.check(job, after)
    except BadEventId:
        raise Unprocessable("`after` is the id of an event of this task, as its `id:` line says it.", param="after") from None
    response = web.StreamResponse(headers={
        "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no",
        REQUEST_ID: request[ID],
    })
    allow_origin(request, response, request.headers.get("Origin", ""))
    await response.prepare(request)
    coming = request.app[DURABLE].events.of(job, after, sign_s=request.app[LIMITS].comment_every_s)
    try:
        async for event in coming:
            await response.write(_said(event))
    except Refusal as refusal:
        # Its head is out, so the stream says why it goes no further.
        await response.write(b"event: error\ndata: %s\n\n" % msgspec.json.encode({"error": {**refusal.shape()["error"], "status": refusal.status}}))
    finally:
        await coming.aclose()
    await response.write_eof()
    return response


def _said(event: JobEvent) -> bytes:
    if event.events is not None:
        return event.events
    if event.job is None:
        return b": waiting\n\n"
    state = {**told(event.job), "state": event.state}
    return b"id: %s\nevent: state\ndata: %s\n\n" % (event.id.encode(), msgspec.json.encode(state))
