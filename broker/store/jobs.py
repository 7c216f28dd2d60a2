"""Jobs: durable tasks. Made, looked at, cancelled, tried again, forgotten; how they are run is in ``claims.py``.

One script each, but for lists, which are read piece by piece. A job's answer is the kept reply of one of its attempts
(``kept.py``), under the name that ``Job.result`` has.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import NamedTuple

from broker.errors import Conflict, IdempotencyMismatch, QueueFull, Unprocessable
from broker.unknown import UnknownJob, UnknownLLM

from .scripts import Caller, Scripts

QUEUED, RUNNING, DONE, FAILED, CANCELLED, DEAD = STATES = ("queued", "running", "done", "failed", "cancelled", "dead")
ENDED = (DONE, FAILED, CANCELLED, DEAD)

#: Jobs that one script looks at.
_SCAN = 500
_LOOKS = 200
_LIST_SCRIPTS = 20
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """``most``: jobs that may be queued. ``result_ms``: how long an ended one is kept. ``key_ms``: how long an
    Idempotency-Key counts. ``tries``: attempts, with ``backoff_ms`` before the second, twice that before the third.
    ``attempt_ms``: longest attempt; ``idle_ms``: longest silence within its answer. ``answer_bytes``: largest answer.
    ``inline_bytes``: larger requests reach publishers as requestUrl. ``upstream_calls``: jobs that run at once at a public
    LLM. ``poll_ms``: how often queues are looked at of which nothing was heard. ``orphan_ms``: how
    long a job waits while nobody is there to do it."""

    most: int = 1_000_000
    result_ms: int = 86_400_000
    key_ms: int = 86_400_000
    tries: int = 3
    backoff_ms: int = 1000
    attempt_ms: int = 600_000
    idle_ms: int = 60_000
    answer_bytes: int = 64 << 20
    inline_bytes: int = 1_000_000
    upstream_calls: int = 16
    poll_ms: int = 500
    orphan_ms: int = 604_800_000


class Attempt(NamedTuple):
    """One attempt: the kept task's id, the LLM ('' when none had it), its times in ms, and how it ended (status None:
    it has not). ``code`` '' is an answer of the backend's own."""

    task: str
    llm: str
    began_ms: int
    ended_ms: int | None = None
    status: int | None = None
    code: str = ""
    message: str = ""


class Job(NamedTuple):
    """A job as it is. Times in ms. ``place``: in its queue, 1 is next, 0: first already, and waiting for a slot; None
    outside. ``retry_ms``: when it waits again, between two attempts. ``result``: the kept task whose answer is the
    result, '' for none. ``why``: the code and message of an end without one. ``webhook``: its JSON as it was given;
    ``delivered``: '' (not yet), a status, or why it was given up."""

    id: str
    owner: str
    target: str
    operation: str
    streaming: bool
    priority: str
    state: str
    made_ms: int
    deadline_ms: int | None
    ended_ms: int | None
    place: int | None
    retry_ms: int | None
    attempts: list[Attempt]
    result: str
    why: tuple[str, str] | None
    webhook: bytes
    delivered: str

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def result_status(self) -> int | None:
        return next((one.status for one in self.attempts if one.task == self.result), None)


class Made(NamedTuple):
    """An accepted job. ``new``: it was not asked for before. ``due``: a claim may let it begin now."""

    id: str
    new: bool
    due: bool


class Jobs:
    def __init__(self, link: Caller, scripts: Scripts, prefix: str, limits: JobLimits, *, accept_ms: int):
        self._link = link
        self._scripts = scripts
        self._keys = f"{prefix}job-keys:"
        self._limits = limits
        self._accept_ms = accept_ms

    async def create(
        self, target: str, *, owner: str, body: bytes, operation: str = "chat", streaming: bool = False,
        priority: str = "batch", may_wake: bool = True, named: bool = False, deadline_ms: int | None = None,
        webhook: bytes = b"", key: str = "", fingerprint: str = "",
    ) -> Made:
        """Accepts a job. ``target``: what a client would give as `model`; ``named``: only
        an LLM of just that name will do. ``deadline_ms``: from now. ``key``: digest of owner and Idempotency-Key; the
        same key with the same ``fingerprint`` is the same job. Raises UnknownLLM, Unprocessable (its deadline is over),
        IdempotencyMismatch, QueueFull."""
        verdict, *rest = await self._scripts.run(
            "job_create", f"job_{secrets.token_hex(12)}", owner, target, int(named), body.translate(_ONE_LINE), operation,
            int(streaming), priority, int(may_wake), "" if deadline_ms is None else deadline_ms, webhook, key, fingerprint,
            self._limits.key_ms, self._limits.most,
        )
        if verdict == b"unknown":
            what = "LLM of that name" if named else "LLM, pool, model or agent"
            raise UnknownLLM(f"There is no {what} {target!r}; GET /v1/models lists those that there are.", param="model")
        if verdict == b"late":
            raise Unprocessable("The deadline is over already; give one that is to come.", param="deadline")
        if verdict == b"mismatch":
            raise IdempotencyMismatch()
        if verdict == b"full":
            text = f"{int(rest[0]):,} tasks are queued, and more are not kept; try again when some have run."
            raise QueueFull(text, retry_after_s=10)
        return Made(rest[0].decode(), new=verdict == b"made", due=rest[1:] == [1])

    async def made_by(self, keys: list[str]) -> list[str]:
        """The jobs that were made under these keys, in that order; '' for none that is known."""
        held = await self._link.call("MGET", *(f"{self._keys}{key}" for key in keys))
        return [one.split()[0].decode() if one else "" for one in held]

    async def look(self, job: str, *, owner: str = "") -> Job:
        """``owner`` '': anybody's. Raises UnknownJob."""
        found = (await self.look_at([job], owner=owner))[0]
        if found is None:
            raise UnknownJob()
        return found

    async def look_at(self, jobs: list[str], *, owner: str = "") -> list[Job | None]:
        """Several at once, in that order; None for one that is not there (or another owner's)."""
        found: list[Job | None] = []
        for start in range(0, len(jobs), _LOOKS):
            told = await self._scripts.run("job_look", owner, *jobs[start : start + _LOOKS])
            found += [read_job(words) if words else None for words in told]
        return found

    async def list(self, owner: str, *, state: str = "", limit: int = 50, after: str = "") -> tuple[list[Job], str]:
        """A page of an owner's jobs, newest first, and the cursor of the next one ('': there is none). A page may be
        short, or empty, and yet not be the last: where few are in that state."""
        found: list[Job] = []
        for _ in range(_LIST_SCRIPTS):
            after, *told = await self._scripts.run("job_list", owner, state, limit - len(found), after, _SCAN)
            after = after.decode()
            found += [read_job(words) for words in told]
            if not after or len(found) == limit:
                break
        return found, after

    async def cancel(self, job: str, *, owner: str = "") -> str:
        """Cancels a job wherever it is. Returns `cancelled`, or the state in which it had ended. Raises UnknownJob."""
        verdict = (await self._scripts.run("job_cancel", job, owner, self._accept_ms, self._limits.result_ms)).decode()
        if verdict == "gone":
            raise UnknownJob()
        return verdict

    async def retry(self, job: str, *, owner: str = "") -> None:
        """Queues a job anew that failed or is dead. Raises UnknownJob, Conflict."""
        verdict = (await self._scripts.run("job_retry", job, owner)).decode()
        if verdict == "gone":
            raise UnknownJob()
        if verdict == "late":
            raise Conflict("The deadline of that task is over; submit a new one.")
        if verdict != "again":
            raise Conflict(f"That task is {verdict}; one that is dead or failed can be tried again.")

    async def purge(self, owner: str, state: str) -> int:
        """Forgets an owner's jobs that ended in that state. Returns how many those were."""
        dropped, after, more = 0, "", True
        while more:
            count, after = await self._scripts.run("job_purge", owner, state, after, _SCAN)
            dropped += count
            more = bool(after)
        return dropped


def read_job(words: list[bytes]) -> Job:
    """A job as the scripts tell it (`told_job`, lua/shared/jobs.lua)."""
    job, state, asked, attempt, ended, ended_at, result, why, webhook, delivered, place, retry = words
    made, deadline, priority, operation, streaming, _, target, owner = asked.decode().split("\n", 7)
    attempts = [_attempt(line) for line in ended.decode(errors="replace").split("\n") if line]
    if attempt:
        task, began, llm = attempt.decode().split("\t")
        attempts.append(Attempt(task, llm, int(began)))
    code, _, message = why.decode(errors="replace").partition("\t")
    if not code and state.decode() in (FAILED, DEAD) and not result and attempts:
        code, message = attempts[-1].code or "backend_error", attempts[-1].message
    return Job(
        id=job.decode(), owner=owner, target=target, operation=operation, streaming=streaming == "1", priority=priority,
        state=state.decode(), made_ms=int(made) // 1000, deadline_ms=int(deadline) if deadline else None,
        ended_ms=int(ended_at) if ended_at else None, place=int(place) if place else None,
        retry_ms=int(float(retry)) if retry else None, attempts=attempts, result=result.decode(),
        why=(code, message) if code else None, webhook=webhook, delivered=delivered.decode(errors="replace"),
    )


def _attempt(line: str) -> Attempt:
    task, llm, began, ended, status, code, message = line.split("\t", 6)
    return Attempt(task, llm, int(began), int(ended), int(status), code, message)
