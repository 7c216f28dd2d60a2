"""Responses in the background: a job answers, and whoever asks is told what its attempts have said so far.

Nothing here is needed for such a response to come to its end. It is read out of the job's attempts, always with the same
result, and kept as it ended by whoever reads it first.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from msgspec import Raw

from broker.dialects.broken import BrokenAnswer
from broker.dialects.openai_answer import encode, error_in
from broker.dialects.responses_answer import begun, failed
from broker.dialects.responses_shape import Asked
from broker.dialects.responses_stream import EventWriter
from broker.errors import BadRequest, TooLarge
from broker.relay.answered import Answered, read_answered
from broker.relay.call import Call
from broker.store.jobs import CANCELLED, DONE, QUEUED, Job
from broker.store.responses import Stored
from broker.unknown import UnknownJob

from .bodies import JSON
from .context import DURABLE, LIMITS, PRINCIPAL, STORE

_PREFIX = "job_"
_LONGEST_S = 3650 * 86_400
_object = msgspec.json.Decoder(dict[str, Any]).decode


async def begin(request: web.Request, asked: Asked, call: Call, items: list[Raw]) -> Stored:
    """Accepts a response in the background. Raises UnknownLLM, QueueFull, IdempotencyMismatch."""
    store, owner = request.app[STORE], request[PRINCIPAL].owner
    limits = request.app[LIMITS]
    if len(call.body) > limits.job_bytes:
        raise TooLarge(f"A request in the background has at most {limits.job_bytes:,} bytes, with all that was said before it.")
    key, fingerprint = (call.keep.idem, call.keep.fingerprint) if call.keep else ("", "")
    job, *_ = await store.jobs.create(
        asked.model, owner=owner, body=call.body, streaming=call.streaming, may_wake=call.may_wake, key=key, fingerprint=fingerprint,
        priority=call.priority if "X-Priority" in request.headers else "normal", deadline_ms=_deadline_ms(request),
    )
    request.app[DURABLE].made()
    response = f"resp_{job.removeprefix(_PREFIX)}"
    made_s = (await store.jobs.look(job)).made_ms // 1000
    answer = {**begun(asked, response=response, created_s=made_s), "status": "queued"}
    await store.responses.put(
        response, owner, ttl_ms=int(limits.response_s * 1000), created_s=made_s,
        previous=asked.previous_response_id or "", items=encode(items), answer=encode(answer), job=job,
    )
    return await store.responses.get(response, owner)


def _deadline_ms(request: web.Request) -> int | None:
    """What its X-Deadline-Seconds says, which was looked at already. A request at once has a limit besides, a job has none."""
    text = request.headers.get("X-Deadline-Seconds")
    return max(1, int(min(float(text), _LONGEST_S) * 1000)) if text else None


async def answer_now(request: web.Request, stored: Stored) -> bytes:
    """The response as it is now; kept, if it has ended."""
    if stored.ended:
        return stored.answer
    store = request.app[STORE]
    try:
        job = await store.jobs.look(stored.job)
    except UnknownJob:
        text = "nobody asked for the answer in time, and it is not kept any more"
        return await store.responses.end(stored.id, encode(failed(_object(stored.answer), 500, {"message": text, "code": "unknown_task"})))
    if not job.ended:
        waits = job.state == QUEUED and not job.attempts
        return encode({**_object(stored.answer), "status": "queued" if waits else "in_progress"})
    writer = EventWriter(_object(stored.answer))
    last = Answered(None, b"", None)
    for attempt in job.attempts:
        writer.begin_again()
        last = read_answered(await store.kept.all(attempt.task))
        # Of one in one piece that broke off there is nothing to be read.
        if last.in_pieces or (last.head and last.head.status < 400 and not last.failure):
            say(writer, last.body, whole=not last.in_pieces)
    conclude(writer, job, last)
    return await store.responses.end(stored.id, encode(writer.response))


async def cancel_response(request: web.Request) -> web.Response:
    store, owner = request.app[STORE], request[PRINCIPAL].owner
    stored = await store.responses.get(request.match_info["response"], owner)
    if not stored.job:
        raise BadRequest("Only a response in the background can be cancelled; end another by closing its connection.")
    await stop(request, stored.job)
    return web.Response(body=await answer_now(request, stored), content_type=JSON)


async def stop(request: web.Request, job: str) -> None:
    """Cancels the job of a response that nobody wants any more."""
    try:
        await request.app[STORE].jobs.cancel(job, owner=request[PRINCIPAL].owner)
    except UnknownJob:
        return
    request.app[DURABLE].cancelled()


def say(writer: EventWriter, body: bytes, *, whole: bool = False) -> bytes:
    """The events for a piece of an attempt, or for all of one."""
    try:
        return writer.say_whole(body) if whole else writer.say(body)
    except BrokenAnswer as broken:
        return writer.fail(502, {"message": str(broken), "code": "backend_error"})


def conclude(writer: EventWriter, job: Job, last: Answered) -> bytes:
    """The last events of a response whose job has ended; ``last``: what its last attempt said."""
    if job.state == CANCELLED:
        return writer.cancel()
    if job.state == DONE:
        writer.completed_s = job.ended_ms // 1000
        try:
            return writer.close()
        except BrokenAnswer as broken:
            return writer.fail(502, {"message": str(broken), "code": "backend_error"})
    if job.result and last.head and last.head.status >= 400:
        return writer.fail(last.head.status, error_in(last.body, last.head.status))
    code, message = job.why or ("backend_error", "the LLM gave no answer")
    return writer.fail(job.attempts[-1].status or 500 if job.attempts else 500, {"message": message, "code": code})
