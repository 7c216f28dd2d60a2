"""Whoever waits here for a job to change, its end above all. One look for all that are watched, every now and then and
whenever something ended here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from broker.errors import StoreUnavailable, Unavailable
from broker.store.jobs import Job, Jobs
from broker.unknown import UnknownJob


def mark(job: Job) -> tuple[object, ...]:
    """What is another after each change that others are told of."""
    return job.state, len(job.attempts), sum(one.status is not None for one in job.attempts), job.place is None


class JobWatch:
    def __init__(self, jobs: Jobs, *, poll_s: float):
        self._jobs = jobs
        self._poll_s = poll_s
        self._waiting: dict[str, list[tuple[tuple, asyncio.Future]]] = {}
        self._bell = asyncio.Event()
        self._stopped = False
        self._loop: asyncio.Task | None = None

    def nudge(self) -> None:
        """Something changed here."""
        self._bell.set()

    def stop(self) -> None:
        """This replica goes away: who waits here goes on at another."""
        self._stopped = True
        for ones in self._waiting.values():
            for _, future in ones:
                if not future.done():
                    future.set_exception(Unavailable("This broker is shutting down; go on at another one."))

    async def changed(self, job: Job, within_s: float | None = None) -> Job | None:
        """The job once it is another than this; None: not within that time. Raises UnknownJob: it was deleted,
        and Unavailable: this replica goes away."""
        if self._stopped:
            raise Unavailable("This broker is shutting down; go on at another one.")
        future: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        entry = (mark(job), future)
        self._waiting.setdefault(job.id, []).append(entry)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(within_s):
                found = await future
        except TimeoutError:
            return None
        finally:
            self._leave(job.id, entry)
        if found is None:
            raise UnknownJob()
        return found

    async def close(self) -> None:
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    def _leave(self, job: str, entry: tuple) -> None:
        ones = self._waiting.get(job, [])
        if entry in ones:
            ones.remove(entry)
        if not ones:
            self._waiting.pop(job, None)

    async def _look(self) -> None:
        while self._waiting:
            self._bell.clear()
            names = list(self._waiting)
            with suppress(StoreUnavailable):
                for name, job in zip(names, await self._jobs.look_at(names), strict=True):
                    for seen, future in self._waiting.get(name, ()):
                        if not future.done() and (job is None or mark(job) != seen):
                            future.set_result(job)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._bell.wait()
