"""A response in the background as a stream, from any event on: what its job's attempts have said, then what they say.

Its events come from what is kept alone, so that every reader, at any replica and at any time, gets the same.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import msgspec
from aiohttp import web

from broker.dialects.responses_answer import unanswered
from broker.dialects.responses_stream import EventWriter
from broker.errors import Refusal
from broker.relay.answered import Answered, is_stream
from broker.relay.following import Followed
from broker.store.responses import Stored, UnknownResponse

from .answers import open_events
from .background import answer_now, conclude, say
from .context import DURABLE, LIMITS, PRINCIPAL, RELAY, STORE

#: Jobs have limits of their own.
_PATIENT_S = 30 * 86_400
_WAITING = b": waiting\n\n"

_object = msgspec.json.Decoder(dict).decode


async def stream(request: web.Request, stored: Stored, after: int) -> web.StreamResponse:
    """The events after that number, live to the end."""
    jobs = request.app[STORE].jobs
    job = await jobs.look(stored.job)
    writer = EventWriter(unanswered(_object(stored.answer)), after=after)
    out = await open_events(request)
    told: set[str] = set()
    last = Answered(None, b"", None)
    try:
        await _write(out, writer.begin())
        while not (job.ended and all(attempt.task in told for attempt in job.attempts)):
            untold = [attempt.task for attempt in job.attempts if attempt.task not in told]
            if untold:
                await _write(out, writer.begin_again())
                last = await _tell(request, out, writer, untold[0])
                told.add(untold[0])
                job = await jobs.look(stored.job)
            elif changed := await request.app[DURABLE].watch.changed(job, request.app[LIMITS].comment_every_s):
                job = changed
            else:
                await out.write(_WAITING)
        end = conclude(writer, job, last)
        with suppress(UnknownResponse):  # it may have been deleted meanwhile
            await answer_now(request, stored)
    except Refusal as refusal:
        end = writer.interrupt({"code": refusal.code, "message": refusal.message})
    await out.write_eof(end)
    return out


async def _tell(request: web.Request, out: web.StreamResponse, writer: EventWriter, task: str) -> Answered:
    """Says one attempt, live to its end. Returns what is not said of it: a refusal, or its failure. Raises the Refusal
    for which this replica cannot say more of it."""
    limits = request.app[LIMITS]
    patience = replace(limits.patience, deadline_s=_PATIENT_S, queue_wait_s=_PATIENT_S, idle_s=_PATIENT_S)
    exchange = await request.app[RELAY].follow(task, request[PRINCIPAL].owner, patience)
    whole: list[bytes] = []
    try:
        while not exchange.done:
            data = await exchange.next(limits.comment_every_s)
            if data is None:
                await out.write(_WAITING)
            elif exchange.head and (exchange.head.status >= 400 or not is_stream(exchange.head)):
                whole.append(data)
            else:
                await _write(out, say(writer, data))
    except Refusal:
        if not exchange.ended:
            raise
    finally:
        request.app[RELAY].end(exchange, "client gone")
    return await _rest(exchange, out, writer, b"".join(whole))


async def _rest(exchange: Followed, out: web.StreamResponse, writer: EventWriter, body: bytes) -> Answered:
    head = exchange.head
    if exchange.done and head and head.status < 400 and not is_stream(head):
        await _write(out, say(writer, body, whole=True))
    return Answered(head, body, None)


async def _write(out: web.StreamResponse, said: bytes) -> None:
    if said:
        await out.write(said)
