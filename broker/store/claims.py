"""Claims: queued jobs begin. What a replica must go on with itself comes back; everything else is decided in ``lua/``.

An attempt at a publisher needs no replica. One at a public LLM is called by the replica that claimed it, and ends with
it; so does the loop of an agent with tools. An agent's request is made by that replica, which then gives it to ``start``.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from broker.model import Target

from .jobs import JobLimits
from .scripts import Caller, Scripts

#: How long a job that waits in a line of requests may do so before it goes back to its queue.
_LINE_MS = 86_400_000
#: After an outage of all replicas publishers have so long to come back before a job's end is that nobody is there.
_SETTLE_MS = 300_000
_DUE = 500


class Called(NamedTuple):
    """An attempt that this replica is to make: a call to a public LLM."""

    task: str
    owner: str
    operation: str
    streaming: bool
    body: bytes
    deadline_ms: int
    target: Target


class Looping(NamedTuple):
    """An attempt that is an agent's loop, which this replica is to run: its asks go to ``llm``, with ``priority``."""

    task: str
    owner: str
    llm: str
    deadline_ms: int
    priority: str
    may_wake: bool


class Asked(NamedTuple):
    """A job for an agent, whose request this replica is to make."""

    job: str
    agent: str
    operation: str
    streaming: bool
    body: bytes


class Claimed(NamedTuple):
    """``began``: how many jobs; ``more``: perhaps others can too; ``queued``: whether any wait."""

    began: int
    more: bool
    queued: bool
    called: list[Called]
    asked: list[Asked]


class Claims:
    def __init__(
        self, link: Caller, scripts: Scripts, prefix: str, replica: str, limits: JobLimits, *,
        accept_ms: int, stale_ms: int, expire_ms: int, lease_grace_ms: int, wake_limit_ms: int,
    ):
        self._link = link
        self._scripts = scripts
        self._replica = replica
        self._asked = f"{prefix}asked:{replica}"
        self._task = f"{prefix}task:"
        self._result_ms = limits.result_ms
        self._due = (_DUE, limits.attempt_ms, limits.idle_ms, accept_ms, limits.result_ms)
        self._settings = msgspec.json.encode({
            "attemptMs": limits.attempt_ms, "lineMs": _LINE_MS, "idleMs": limits.idle_ms, "pollMs": limits.poll_ms,
            "orphanMs": limits.orphan_ms, "settleMs": min(limits.orphan_ms, _SETTLE_MS),
            "resultMs": limits.result_ms, "bounds": f"{limits.tries} {limits.backoff_ms} {limits.result_ms}",
            "keep": f"{limits.result_ms} {limits.answer_bytes} 0 0", "inlineBytes": limits.inline_bytes,
            "upstreamCalls": limits.upstream_calls, "acceptMs": accept_ms, "staleMs": stale_ms, "expireMs": expire_ms,
            "leaseGraceMs": lease_grace_ms, "wakeLimitMs": wake_limit_ms,
        })

    async def claim(self, limit: int, *, calls: int) -> Claimed:
        """Lets up to so many jobs begin. ``calls``: how many of them this replica may call upstreams for."""
        began, more, queued, *rest = await self._scripts.run("job_claim", self._settings, self._replica, limit, calls)
        called = [_called(*words) for kind, *words in rest if kind == b"public"]
        asked = [_asked(*words) for kind, *words in rest if kind == b"persona"]
        return Claimed(began, bool(more), bool(queued), called, asked)

    async def start(self, job: str, llm: str, model: str, body: bytes | None) -> Called | Looping | None:
        """Begins a claimed job with that request, at that LLM, else at one that answers for that model; with neither it
        cannot begin now, and waits again. ``body`` None: it is a loop, which this replica runs."""
        loop = int(body is None)
        kind, *words = await self._scripts.run("job_start", self._settings, self._replica, job, llm, model, body or b"", loop)
        if kind == b"loop":
            return _looping(*words)
        return _called(*words) if kind == b"public" else None

    async def refuse(self, job: str, code: str, message: str) -> None:
        """Ends a claimed job of which no request can be made."""
        await self._scripts.run("job_refuse", job, code, message, self._result_ms)

    async def due(self) -> bool:
        """Does what falls due; whether there may be more."""
        return int(await self._scripts.run("job_due", *self._due)) == _DUE

    async def held(self) -> set[str]:
        """The attempts that this replica makes, as Redis has it."""
        found = set()
        for task in await self._link.call("SMEMBERS", self._asked):
            if task.startswith(b"job_"):
                state, asker = await self._link.call("HMGET", self._task + task.decode(), "state", "reply")
                if state == b"upstream" and asker == self._replica.encode():
                    found.add(task.decode())
        return found


def _called(owner, operation, streaming, body, task, llm, deadline_ms, *target) -> Called:
    return Called(
        task.decode(), owner.decode(), operation.decode(), bool(streaming), body, int(deadline_ms),
        Target(llm.decode(), *(word.decode() for word in target)),
    )


def _looping(task, owner, llm, deadline_ms, priority, may_wake) -> Looping:
    return Looping(task.decode(), owner.decode(), llm.decode(), int(deadline_ms), priority.decode(), bool(may_wake))


def _asked(job, agent, operation, streaming, body) -> Asked:
    return Asked(job.decode(), agent.decode(), operation.decode(), bool(streaming), body)
