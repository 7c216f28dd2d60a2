"""What happens to a job, in order, from any point on, at any replica: its states, and within an attempt the events of the
answer as they come.

The order follows from what is kept: an attempt's number, then the place in its reply. So an event has the same id
whoever reads it, and whenever. Ids: ``0`` (queued), ``<n>`` (attempt n runs), ``<n>-<event>`` (of its answer, as in a
kept stream), ``<n>-end`` (it waits again), ``<n>-last`` (the job has ended; n attempts).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from broker.errors import Refusal
from broker.store.jobs import Job
from broker.store.kept import Kept
from broker.unknown import UnknownStream

from .exchange import Patience
from .job_watch import JobWatch
from .numbering import BadEventId, Numbering
from .relay import Relay

_ID = re.compile(r"([0-9]{1,6})(?:-(end|last|[0-9]+-[0-9]+-[0-9]+))?")
#: The job's own times end an attempt; whoever only reads has none.
_LONG_S = 10_000_000.0
_RUNS, _SAYS, _ENDED, _LAST = range(4)


class JobEvent(NamedTuple):
    """``job``: as it stood; ``events``: whole SSE events of the answer, with ids; both None: nothing came for a while."""

    id: str = ""
    state: str = ""
    job: Job | None = None
    events: bytes | None = None


class After(NamedTuple):
    """How far a reader is: that attempt, and what of it; ``event``: the last one of its answer."""

    attempt: int
    what: int
    event: str = ""

    @classmethod
    def read(cls, text: str) -> After:
        """Raises BadEventId."""
        if not text:
            return cls(-1, _RUNS)
        found = _ID.fullmatch(text)
        if not found:
            raise BadEventId(text)
        attempt, what = int(found[1]), found[2]
        if not attempt and what not in (None, "last"):
            raise BadEventId(text)
        if what in ("end", "last"):
            return cls(attempt, _ENDED if what == "end" else _LAST)
        if what:
            Numbering(what)
        return cls(attempt, _SAYS if what else _RUNS, what or "")


class JobEvents:
    """``buffer_bytes``: most that is held for one reader."""

    def __init__(self, watch: JobWatch, relay: Relay, kept: Kept, *, buffer_bytes: int):
        self._watch = watch
        self._kept = kept
        self._relay = relay
        self._patience = Patience(deadline_s=_LONG_S, queue_wait_s=_LONG_S, idle_s=_LONG_S, buffer_bytes=buffer_bytes)

    async def check(self, job: Job, after: After) -> None:
        """Raises BadEventId for a point that this job did not come to: it is another's, and nothing would follow it."""
        if after.attempt > len(job.attempts):
            raise BadEventId(str(after.attempt))
        if after.event and await self._kept.lacks(job.attempts[after.attempt - 1].task, Numbering(after.event).seen):
            raise BadEventId(after.event)

    async def of(self, job: Job, after: After, *, sign_s: float) -> AsyncIterator[JobEvent]:
        """Everything after that point, to the job's end; an empty event after each ``sign_s`` in which nothing came.
        Raises UnknownJob when it is deleted meanwhile."""
        if after < (0, _RUNS):
            yield JobEvent("0", "queued", job)
        number = max(1, after.attempt)
        while True:
            while number <= len(job.attempts):
                if after < (number, _RUNS):
                    yield JobEvent(str(number), "running", job)
                if after < (number, _ENDED):
                    event = after.event if after.attempt == number else ""
                    async for said in self._answer(job, number, event, sign_s):
                        yield said
                    while not job.ended and job.attempts[number - 1].status is None:
                        async for job, sign in self._next(job, sign_s):
                            if sign:
                                yield sign
                over = job.ended and number == len(job.attempts)
                if not over and after < (number, _ENDED):
                    yield JobEvent(f"{number}-end", "queued", job)
                number += 1
            if job.ended:
                if after < (len(job.attempts), _LAST):
                    yield JobEvent(f"{len(job.attempts)}-last", job.state, job)
                return
            async for job, sign in self._next(job, sign_s):
                if sign:
                    yield sign

    async def _next(self, job: Job, sign_s: float) -> AsyncIterator[tuple[Job, JobEvent | None]]:
        """The job when it has changed; before that signs of life."""
        while (found := await self._watch.changed(job, sign_s)) is None:
            yield job, JobEvent()
        yield found, None

    async def _answer(self, job: Job, number: int, after: str, sign_s: float) -> AsyncIterator[JobEvent]:
        """What an attempt says, if that is a stream, to its end; nothing of one whose reply is gone."""
        numbering = Numbering(after, prefix=b"%d-" % number)
        try:
            exchange = await self._relay.follow(job.attempts[number - 1].task, job.owner, self._patience, after=numbering)
        except UnknownStream:
            return
        exchange.numbering = numbering
        try:
            while not exchange.done:
                said = await exchange.next(sign_s)
                if said is None:
                    yield JobEvent()
                elif said and job.streaming and numbering.on:
                    yield JobEvent(events=said)
        except Refusal:
            # How it ended is told by the job's state; when it is this replica that ends it, more may follow elsewhere.
            if not exchange.ended:
                raise
        finally:
            self._relay.end(exchange, "client gone")
