"""``/api/v1/tasks``: durable tasks. Submitted and accepted at once, run when somebody is free, read later.

In the code they are *jobs*, for a task is an attempt there. Their owner sees them, and an admin.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from aiohttp import web

from broker.errors import BadRequest, NotFound, Refusal, TooLarge, Unprocessable
from broker.model import AGENT_PREFIX
from broker.relay.job_told import PATH, told
from broker.relay.webhooks import Hook, bond
from broker.store.jobs import ENDED, STATES, Job
from broker.unknown import UnknownLLM, UnknownStream
from broker.upstream.guard import read_url

from .answers import written
from .bodies import JSON, decode, describe, read_body, reply
from .calls import PRIORITIES
from .context import DURABLE, HOOKS, LIMITS, PRINCIPAL, RELAY, STORE, VAULT
from .keeping import key_of
from .lookup import with_near_names
from .pages import limit_of
from .voice import AsItCame

_OPERATIONS = ("chat", "completions", "embeddings")
#: Of what surrounds the request in a submission.
_AROUND_BYTES = 64 << 10
_LONGEST = timedelta(days=3650)


class UnfinishedJob(Refusal):
    """That task has not ended yet, so it has no result; ask again later, or follow its events."""

    status = 409
    code = "task_unfinished"
    retry_after_s = 2


class NoResult(NotFound):
    """That task ended without a result; GET /api/v1/tasks/<id> says why."""

    code = "no_result"


class Webhook(msgspec.Struct):
    """Where the end is told, and what signs that."""

    url: str
    secret: str


class Submitted(msgspec.Struct, rename="camel"):
    """``POST /api/v1/tasks``. One of ``llm``, ``model`` and ``agent`` says who is asked; else the request's own `model`."""

    request: msgspec.Raw
    llm: str | None = None
    model: str | None = None
    agent: str | None = None
    operation: str = "chat"
    priority: str = "normal"
    deadline_seconds: float | None = None
    deadline: datetime | None = None
    webhook: Webhook | None = None


class _Asked(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None


async def submit(request: web.Request) -> web.Response:
    limits = request.app[LIMITS]
    body = await read_body(request, limits.job_bytes + _AROUND_BYTES, limits.body_s)
    submitted = decode(body, Submitted)
    if len(bytes(submitted.request)) > limits.job_bytes:
        raise TooLarge(f"`request` is larger than {limits.job_bytes:,} bytes.", param="request")
    asked = _read_request(submitted)
    target = _target(submitted, asked)
    key, fingerprint = key_of(request, body)
    try:
        made = await request.app[STORE].jobs.create(
            target, owner=request[PRINCIPAL].owner, body=bytes(submitted.request), operation=_operation(submitted, target),
            streaming=bool(asked.stream), priority=_priority(submitted), may_wake=request[PRINCIPAL].may_wake,
            named=submitted.llm is not None, deadline_ms=_deadline_ms(submitted), webhook=await _webhook(request, submitted),
            key=key, fingerprint=fingerprint,
        )
    except UnknownLLM as unknown:
        raise await with_near_names(request, target, unknown) from None
    headers = {"Location": f"{PATH}/{made.id}"}
    if not made.new:
        found = await request.app[STORE].jobs.look(made.id)
        return _replied(told(found), 202, {**headers, "Idempotency-Replayed": "true"})
    if made.due:
        request.app[DURABLE].made()
    return _replied({"id": made.id, "object": "task", "state": "queued", "model": target, "priority": submitted.priority}, 202, headers)


async def list_tasks(request: web.Request) -> web.Response:
    """``?state=&limit=&after=``, ``after`` being the ``next`` of the page before."""
    state, after = request.query.get("state", ""), request.query.get("after", "")
    if state and state not in STATES:
        raise Unprocessable(f"`state` is one of {', '.join(STATES)}.", param="state")
    if after and not (after.isascii() and after.isdecimal()):
        raise Unprocessable("`after` is the `next` of the page before.", param="after")
    jobs, on = await request.app[STORE].jobs.list(
        request[PRINCIPAL].owner, state=state, limit=limit_of(request, default=50, most=500), after=after
    )
    return reply({"object": "list", "data": [told(job) for job in jobs], "next": on or None})


async def get_task(request: web.Request) -> web.Response:
    return reply(told(await found(request)))


async def result(request: web.Request) -> web.StreamResponse:
    """The bytes of the one attempt that counts, with the status and headers that the backend gave them."""
    job = await found(request)
    if not job.ended:
        raise UnfinishedJob()
    if not job.result:
        why = f": {job.why[1] or job.why[0]}" if job.why else ""
        raise NoResult(f"This task is {job.state} and has no result{why}.")
    try:
        exchange = await request.app[RELAY].follow(job.result, job.owner, request.app[LIMITS].patience)
    except UnknownStream:
        raise NoResult("The result of this task is not kept any more.") from None
    return await written(request, exchange, AsItCame(), "result", streaming=job.streaming)


async def retry(request: web.Request) -> web.Response:
    job = request.match_info["task"]
    await request.app[STORE].jobs.retry(job, owner=owner_of(request))
    request.app[DURABLE].made()
    return reply(told(await found(request)), 202)


async def cancel(request: web.Request) -> web.Response:
    job = request.match_info["task"]
    state = await request.app[STORE].jobs.cancel(job, owner=owner_of(request))
    request.app[DURABLE].cancelled()
    return reply({"id": job, "state": state})


async def purge(request: web.Request) -> web.Response:
    """``?state=dead``, or another of the states in which a task has ended."""
    state = request.query.get("state", "")
    if state not in ENDED:
        raise Unprocessable(f"`state` says which are forgotten: {', '.join(ENDED)}.", param="state")
    return reply({"deleted": await request.app[STORE].jobs.purge(request[PRINCIPAL].owner, state)})


async def found(request: web.Request) -> Job:
    """The job that the path names. Raises UnknownJob."""
    return await request.app[STORE].jobs.look(request.match_info["task"], owner=owner_of(request))


def owner_of(request: web.Request) -> str:
    """Whose jobs the caller may see by their ids; '' means everybody's."""
    principal = request[PRINCIPAL]
    return "" if principal.may("admin") else principal.owner


def _read_request(submitted: Submitted) -> _Asked:
    try:
        asked = msgspec.json.decode(submitted.request, type=_Asked)
        bytes(submitted.request).decode()
        return asked
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"`request`: {describe(error)}", param="request") from None


def _target(submitted: Submitted, asked: _Asked) -> str:
    named = [name for name in (submitted.llm, submitted.model, submitted.agent) if name is not None]
    if len(named) > 1:
        raise Unprocessable("Give one of `llm`, `model` and `agent`.", param="model")
    target = AGENT_PREFIX + submitted.agent if submitted.agent else named[0] if named else asked.model
    if not target:
        raise BadRequest("`model` is missing; GET /v1/models lists the possible ones.", param="model")
    if any(not char.isprintable() for char in target):
        raise Unprocessable("A name has no control characters.", param="model")
    return target


def _operation(submitted: Submitted, target: str) -> str:
    if submitted.operation not in _OPERATIONS:
        raise Unprocessable(f"`operation` is one of {', '.join(_OPERATIONS)}.", param="operation")
    if submitted.agent and submitted.operation != "chat":
        raise Unprocessable(f"{target!r} is an agent, which only chats.", param="operation")
    return submitted.operation


def _priority(submitted: Submitted) -> str:
    if submitted.priority not in PRIORITIES:
        raise Unprocessable("`priority` is `interactive`, `normal` or `batch`.", param="priority")
    return submitted.priority


def _deadline_ms(submitted: Submitted) -> int | None:
    """From now; below 1 it is over, which only matters to a task that is new."""
    if submitted.deadline is not None and submitted.deadline_seconds is not None:
        raise Unprocessable("Give one of `deadline` and `deadlineSeconds`.", param="deadline")
    if submitted.deadline is not None:
        if submitted.deadline.tzinfo is None:
            raise Unprocessable("`deadline` needs its time zone, as in 2031-01-31T12:00:00Z.", param="deadline")
        left = submitted.deadline - datetime.now(UTC)
    elif submitted.deadline_seconds is not None:
        left = timedelta(seconds=max(-1.0, min(submitted.deadline_seconds, _LONGEST.total_seconds())))
    else:
        return None
    return int(max(-_LONGEST, min(left, _LONGEST)) / timedelta(milliseconds=1))


async def _webhook(request: web.Request, submitted: Submitted) -> bytes:
    hook = submitted.webhook
    if hook is None:
        return b""
    if not 0 < len(hook.secret) <= 256:
        raise Unprocessable("`webhook.secret` has from 1 to 256 characters; it signs what is sent.", param="webhook.secret")
    try:
        read_url(hook.url)
    except Refusal:
        text = "`webhook.url` is a whole http or https address, without user, password and `#`, as https://example.com/hook."
        raise Unprocessable(text, param="webhook.url") from None
    try:
        await request.app[HOOKS].guard.check(hook.url)
    except Refusal as refusal:
        raise Unprocessable(refusal.message.replace("`url`", "`webhook.url`"), param="webhook.url") from None
    sealed, key = request.app[VAULT].seal(bond(hook.url), hook.secret)
    return msgspec.json.encode(Hook(hook.url, sealed, key))


def _replied(content: dict, status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type=JSON, headers=headers)
