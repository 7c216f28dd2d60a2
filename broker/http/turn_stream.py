"""A turn's events, written to a client as SSE: live, or followed from a number on.

A client that leaves, or reads too slowly, loses its stream and nothing else. Until the first event a live client may
still get a plain refusal; comments keep a waiting connection alive and commit its status.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from broker.chat.events import encoded, error_of, failed, last_of
from broker.chat.turn import Turn
from broker.errors import Refusal, StoreUnavailable
from broker.store.turn_events import Event

from .context import FOLLOWING, ID, LIMITS, PRINCIPAL, STORE
from .middleware import REQUEST_ID, allow_origin

TURN_INDEX = "X-Turn-Index"
_WAITING = b": waiting\n\n"


async def tell_live(request: web.Request, turn: Turn) -> web.StreamResponse:
    """What a turn says from its begin on. Raises its Refusal when nothing was written yet."""
    stream = _Stream(request, turn.number)
    held: list[Event] = []
    try:
        while True:
            events = await turn.live.next(stream.wait_s)
            if events is None:
                await stream.write(_said(held) + _WAITING)
                held = []
                continue
            held += events
            if not stream.begun and turn.refusal and all(event.name in ("warning", "error") for event in held):
                raise turn.refusal
            # A warning is no answer yet: what comes may still be a refusal.
            if stream.begun or any(event.name != "warning" for event in held):
                await stream.write(_said(held), end=held[-1].is_last)
                if held[-1].is_last:
                    return stream.response
                held = []
    finally:
        turn.leave(turn.live)


async def tell_from(request: web.Request, thread: str, number: int, after: int) -> web.StreamResponse:
    """What a turn says from behind an event on, wherever it runs or ran. 204 when that was its last. Raises UnknownThread,
    UnknownTurn."""
    stream = _Stream(request, number)
    try:
        if await _is_over(request, thread, number):
            return await _tell_rest(stream, thread, number, after)
        return await _follow(stream, thread, number, after)
    except Refusal as refusal:
        if not stream.begun:
            raise
        if isinstance(refusal, StoreUnavailable):
            # Nothing is known of the turn: a stream without an end is one to resume.
            await stream.write(b"", end=True)
            return stream.response
        await stream.write(encoded(Event(0, *failed(error_of(refusal)))), end=True)
        return stream.response


async def _follow(stream: _Stream, thread: str, number: int, after: int) -> web.StreamResponse:
    request = stream.request
    following = request.app[FOLLOWING]
    listener = following.follow(thread, number, after)
    try:
        await stream.write(b"")
        while True:
            events = await listener.next(stream.wait_s or request.app[LIMITS].comment_every_s)
            if events:
                await stream.write(_said(events), end=events[-1].is_last)
                if events[-1].is_last:
                    return stream.response
            elif events is not None:
                await stream.write(b"", end=True)
                return stream.response
            else:
                # Its last event may never come: Redis can have lost the stream, or the client asked for too high a number.
                over = False
                with suppress(StoreUnavailable):
                    over = await _is_over(request, thread, number)
                if over:
                    return await _tell_rest(stream, thread, number, listener.after)
                await stream.write(_WAITING if stream.wait_s else b"")
    finally:
        following.leave(thread, number, listener)


async def _tell_rest(stream: _Stream, thread: str, number: int, after: int) -> web.StreamResponse:
    """The rest of a turn that has ended; without its events, the last one anew."""
    store, owner = stream.request.app[STORE], stream.request[PRINCIPAL].owner
    while events := await store.turn_events.read(thread, number, after):
        after = events[-1].number
        await stream.write(_said(events), end=events[-1].is_last)
        if events[-1].is_last:
            return stream.response
    if not stream.begun and await store.turn_events.exist(thread, number):
        return web.Response(status=204, headers={TURN_INDEX: str(number)})
    last = last_of(await store.threads.turn(thread, owner, number))
    await stream.write(encoded(Event(after + 1, *last)), end=True)
    return stream.response


async def _is_over(request: web.Request, thread: str, number: int) -> bool:
    return (await request.app[STORE].threads.turn(thread, request[PRINCIPAL].owner, number)).status != "pending"


def _said(events: list[Event]) -> bytes:
    return b"".join(map(encoded, events))


class _Stream:
    """The response, opened by the first write. ``wait_s``: how long to wait until the next comment; None: no comments."""

    def __init__(self, request: web.Request, number: int):
        self.request = request
        self.response: web.StreamResponse | None = None
        self._number = number
        self._limits = request.app[LIMITS]
        self._comments = request.headers.get("X-Wait-Comments", "").lower() != "off"

    @property
    def begun(self) -> bool:
        return self.response is not None

    @property
    def wait_s(self) -> float | None:
        if not self._comments:
            return None
        return self._limits.comment_every_s if self.begun else self._limits.comment_first_s

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """A client that takes nothing for too long is cut off: it can resume."""
        if self.response is None:
            await self._open()
        try:
            async with asyncio.timeout(self._limits.patience.idle_s):
                await (self.response.write_eof(data) if end else self.response.write(data))
        except TimeoutError:
            if self.request.transport:
                self.request.transport.abort()
            raise ConnectionResetError("the client takes nothing") from None

    async def _open(self) -> None:
        request = self.request
        self.response = response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no",
                TURN_INDEX: str(self._number), REQUEST_ID: request[ID],
            }
        )
        allow_origin(request, response, request.headers.get("Origin", ""))
        await response.prepare(request)
