"""``GET _provider-stream``: one publisher's channel, from open to close.

Whoever ends it decides what follows: a publisher that left is offline at once,
a broker that left is only replaced by another (``lua/channel_close.lua``).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from broker.errors import StoreUnavailable
from broker.relay.channel import Channel
from broker.wire import INSTANCE_HEADER

from .context import ID, LIMITS, METRICS, POST, PRINCIPAL, STORE
from .middleware import REQUEST_ID
from .provider import session_named

log = logging.getLogger(__name__)

#: A peer that acknowledges nothing for so long is gone, though nobody said so.
_UNACKED_MS = 30_000
_CLOSE_TRIES = 40


async def stream(request: web.Request) -> web.StreamResponse:
    store, post = request.app[STORE], request.app[POST]
    sid = session_named(request, None)
    owner = request[PRINCIPAL].owner
    channel = Channel(uuid.uuid4().hex, sid, owner)
    # Known before the script makes it the session's: its first frames follow at once.
    post.channels[channel.name.encode()] = channel
    try:
        await store.sessions.open_channel(
            sid, owner, channel=channel.name, replica=store.replica.name,
            instance=request.headers.get(INSTANCE_HEADER, "").encode("utf-8", "replace").decode(),
        )
        log.info("channel open", extra={"session": sid})
        return await _write(request, channel)
    finally:
        del post.channels[channel.name.encode()]
        by = channel.closed_by or "publisher"
        log.info("channel closed", extra={"session": sid, "by": by})
        if channel.opened:
            request.app[METRICS].channels.dec()
        post.errand(_close(store, channel, by))


async def _write(request: web.Request, channel: Channel) -> web.StreamResponse:
    response = EventSourceResponse(
        headers={REQUEST_ID: request[ID]}, ping_interval=request.app[LIMITS].channel_ping_s
    )
    await response.prepare(request)
    _notice_silence(request)
    channel.opened = True
    request.app[METRICS].channels.inc()
    async with response:
        await response.write(b": welcome\n\n")
        while True:
            text = await channel.read()
            if text:
                await response.write(text)
            if channel.closed_by:
                return response


def _notice_silence(request: web.Request) -> None:
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport else None
    if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKED_MS)


async def _close(store, channel: Channel, by: str) -> None:
    for _ in range(_CLOSE_TRIES):
        try:
            await store.sessions.close_channel(channel.session, channel.name, by=by)
            return
        except StoreUnavailable:
            await asyncio.sleep(0.5)
