"""One batch, run by one replica under its lease: lines in, some of them at a time, outcomes out.

It may be left at any moment, and be run again from what is on the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import msgspec

from broker.errors import QueueFull, Refusal, StoreUnavailable
from broker.folder import FileNotHere, Folder
from broker.relay.answered import read_answered
from broker.store import Store
from broker.store.batches import Batch
from broker.store.files import UnknownFile
from broker.store.jobs import Job
from broker.unknown import UnknownJob

from .intake import Intake
from .orders import Order, custom_id_of
from .outcomes import Outcome, answered, failed
from .results import Results

MOST_LINES = 50_000
#: A line's job ends by itself so long after its batch, in case that nobody ends it.
_AFTER_S = 60
#: Lines whose jobs are looked for at once.
_LOOKS = 500
#: A batch whose input nobody finds ends so long after its window. Its input's row lasts as long.
_HOPELESS_S = 86_400
_encode = msgspec.json.Encoder().encode


class Lost(Exception):
    """Another replica runs the batch now."""


class Run:
    """``made``: told when jobs were made. ``ahead``: lines that are jobs at once. ``line_bytes``: longest line.
    ``poll_s``: how often jobs are looked at. ``ttl_ms``: how long its row is kept. ``rests``: it is left for others to run."""

    def __init__(
        self, batch: Batch, store: Store, folder: Folder, *, made: Callable[[], None], ahead: int, line_bytes: int,
        poll_s: float, ttl_ms: int,
    ):
        #: When a line was written down last (monotonic).
        self.moved_s = time.monotonic()
        self.rests = False
        self._batch = batch
        self._store = store
        self._intake = Intake(folder, batch, line_bytes=line_bytes)
        self._results = Results(folder, batch)
        self._made = made
        self._ahead = ahead
        self._poll_s = poll_s
        self._ttl_ms = ttl_ms
        self._status = batch.status
        self._total = batch.total
        self._pending: dict[str, Order] = {}
        self._done: list[str] = []  # jobs whose outcome is being written down
        self._over = False  # as far as we are concerned
        self._held: Order | None = None  # which found the queue full

    async def go(self) -> None:
        """To its end. Raises Lost, StoreUnavailable, FileNotHere, FilesUnavailable: the batch is then to be run again."""
        tasks = [asyncio.create_task(self._go()), asyncio.create_task(self._renew())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _go(self) -> None:
        try:
            await self._results.recover()
            if not self._total and (why := await self._validate()):
                return await self._fail(*why)
            await self._work()
            await self._finish()
        except FileNotHere:
            # Another replica may have it; but not for ever.
            if time.time() < self._batch.expires + _HOPELESS_S:
                raise
            await self._fail("input_file_gone", "no broker found the content of the input file within a day after the window's end")

    async def _renew(self) -> None:
        """Says that it is run, again and again, and how far it is. Raises Lost."""
        while True:
            await asyncio.sleep(self._store.batches.keep_s)
            await self._keep()

    async def _validate(self) -> tuple[str, str] | None:
        """Counts the lines. Returns (code, message) of what is wrong with all of them."""
        try:
            await self._store.files.get(self._batch.input, self._batch.owner)
        except UnknownFile:
            return "input_file_gone", "the input file was deleted before the batch began"
        total = 0
        async with aclosing(self._intake.lines()) as found:
            async for _ in found:
                total += 1
                if total > MOST_LINES:
                    return "too_many_lines", f"the input file has more than {MOST_LINES:,} lines; split it"
        if not total:
            return "empty_file", "the input file has no line"
        self._total = total
        await self._keep("in_progress", total=total, in_progress_at=int(time.time()))
        return None

    async def _work(self) -> None:
        """Until every line is done, or nobody wants it any more."""
        more = True
        async with aclosing(self._intake.orders(self._results.has)) as source:
            while not self._stopped and (more or self._pending or self._held):
                outcomes: list[Outcome] = []
                more = more and await self._feed(source, outcomes)
                before = len(self._pending)
                self._made()
                outcomes += await self._collect()
                if outcomes:
                    await self._write(outcomes)
                if before == len(self._pending):
                    await asyncio.sleep(self._poll_s)
            if more and self._batch.epoch > 1:
                await self._find_strays(source)
        if self._pending:
            # The last ones first: a slot that is freed is to be nobody's any more.
            for job in reversed(self._pending):
                with suppress(UnknownJob):
                    await self._store.jobs.cancel(job)
            # Those that ended before are answers all the same.
            if outcomes := [one for one in await self._collect() if one.succeeded]:
                await self._write(outcomes)

    async def _find_strays(self, source: AsyncGenerator[Order | Outcome]) -> None:
        """Finds the jobs of lines to which an earlier run had come and this one has not."""
        while True:
            orders = [self._held] if self._held else []
            self._held = None
            while len(orders) < _LOOKS and (order := await anext(source, None)):
                if isinstance(order, Order):
                    orders.append(order)
            if not orders:
                return
            jobs = await self._store.jobs.made_by([self._key(order) for order in orders])
            self._pending |= {job: order for job, order in zip(jobs, orders, strict=True) if job}

    def _key(self, order: Order) -> str:
        return f"{self._batch.id}-{order.number}"

    @property
    def _stopped(self) -> bool:
        return self._status == "cancelling" or time.time() >= self._batch.expires

    async def _feed(self, source: AsyncGenerator[Order | Outcome], outcomes: list[Outcome]) -> bool:
        """Makes jobs of lines, as many as may be. False: there are no more lines."""
        while len(self._pending) < self._ahead and len(outcomes) < self._ahead:
            order = self._held or await anext(source, None)
            self._held = None
            if order is None:
                return False
            if isinstance(order, Outcome):
                outcomes.append(order)
                continue
            try:
                job, *_ = await self._store.jobs.create(
                    order.target, owner=self._batch.owner, body=order.body, operation=order.operation, priority="batch",
                    may_wake=self._batch.wake, deadline_ms=int((self._batch.expires + _AFTER_S - time.time()) * 1000),
                    key=self._key(order), fingerprint="line",
                )
                self._pending[job] = order
            except QueueFull:
                self._held = order
                return True
            except StoreUnavailable:
                raise
            except Refusal as why:
                outcomes.append(failed(self._batch.id, order.number, order.custom_id, why.code, why.message))
        return True

    async def _collect(self) -> list[Outcome]:
        """The outcomes of jobs that have ended."""
        names = list(self._pending)
        found = []
        for name, job in zip(names, await self._store.jobs.look_at(names), strict=True):
            if job is None or job.ended:
                found.append(await self._outcome(self._pending[name], job))
                del self._pending[name]
        self._done = [name for name in names if name not in self._pending]
        return found

    async def _outcome(self, order: Order, job: Job | None) -> Outcome:
        if job and job.result:
            reply = read_answered(await self._store.kept.all(job.result))
            if reply.head and not reply.failure:
                return answered(self._batch.id, order, job.result, reply)
        code, message = job.why if job and job.why else ("result_lost", "the answer was not kept until it was written down")
        if job and job.state == "cancelled":
            code, message = "request_cancelled", "the line's task was cancelled"
        return failed(self._batch.id, order.number, order.custom_id, code, message)

    async def _write(self, outcomes: list[Outcome]) -> None:
        await self._results.write(outcomes)
        self.moved_s = time.monotonic()
        await self._store.batches.forget_jobs(self._done)
        self._done = []

    async def _keep(self, status: str = "", **fields: object) -> None:
        """Renews the lease, and hears whether the batch is to end. Raises Lost."""
        done = {"completed": len(self._results.succeeded), "failed": len(self._results.failed)}
        self._status = await self._store.batches.keep(self._batch, status, **done, **fields)
        if self._status == "lost" and not self._over:
            raise Lost

    async def _finish(self) -> None:
        status, code = "completed", ""
        if self._status == "cancelling":
            status, code, message = "cancelled", "batch_cancelled", "the batch was cancelled before this line was answered"
        elif len(self._results.succeeded) + len(self._results.failed) < self._total:
            status, code, message = "expired", "batch_expired", "the batch's completion window was over before this line was answered"
        await self._keep("finalizing", finalizing_at=int(time.time()))

        async def rest() -> AsyncGenerator[Outcome]:
            if not code:
                return
            async with aclosing(self._intake.lines()) as found:
                async for number, text in found:
                    if not self._results.has(number):
                        yield failed(self._batch.id, number, custom_id_of(text or b""), code, message)

        async def end(output: tuple[str, int], error: tuple[str, int], usage: dict[str, object]) -> bool:
            return await self._end(status, output, error, usage=_encode(usage))

        await self._results.publish(rest(), end)
        await self._results.forget()

    async def _fail(self, code: str, message: str) -> None:
        errors = {"object": "list", "data": [{"code": code, "line": None, "message": message, "param": "input_file_id"}]}
        await self._end("failed", ("", 0), ("", 0), errors=_encode(errors))

    async def _end(self, status: str, output: tuple[str, int], error: tuple[str, int], **fields: object) -> bool:
        counts = {"total": self._total, "completed": len(self._results.succeeded), "failed": len(self._results.failed)}
        self._over = True
        return await self._store.batches.end(
            self._batch, status, now_s=int(time.time()), ttl_ms=self._ttl_ms, output=output, error=error, **counts, **fields
        )
