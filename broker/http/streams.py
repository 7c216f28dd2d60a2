"""``/api/v1/streams/<id>``: a kept stream again, from any event on, at any replica, live to its end."""

from __future__ import annotations

from aiohttp import web

from broker.errors import Unprocessable
from broker.relay.numbering import BadEventId, Numbering

from .answers import written
from .context import LIMITS, PRINCIPAL, RELAY
from .voice import Numbered


async def resume(request: web.Request) -> web.StreamResponse:
    """What came after the event ``?after=``, or ``Last-Event-ID`` as browsers send it; without either all of it."""
    after = request.query.get("after") or request.headers.get("Last-Event-ID", "")
    try:
        numbering = Numbering(after)
        exchange = await request.app[RELAY].follow(
            request.match_info["stream"], request[PRINCIPAL].owner, request.app[LIMITS].patience, after=numbering
        )
    except BadEventId:
        raise Unprocessable("`after` is the id of an event of this stream, as its `id:` line says it.", param="after") from None
    exchange.marks = {"X-Stream-Id": exchange.task}
    return await written(request, exchange, Numbered(numbering), "resume", streaming=True, begun=bool(after))
