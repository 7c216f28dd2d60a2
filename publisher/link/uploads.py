"""Carries the tasks' frames to the broker, many in one POST.

One POST at a time: what piles up while it is under way leaves with the next, so
an idle publisher adds no delay and a busy one sends large batches. A batch that
may or may not have arrived is sent again as it was, in parts when it was too
slow; numbered frames make that harmless. It never drops a frame that the broker
could still want.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from broker.wire import FrameAnswer, Result, ResultsAnswer
from publisher.link.backoff import Backoff
from publisher.link.batch import BatchLimit, Line
from publisher.link.client import Refused, TooSlow, Unavailable
from publisher.link.outgoing import Outgoing, is_last

log = logging.getLogger("publisher")

OF_THE_FRAMES = (400, 413, 422)  # any other refusal says nothing about what was sent
BATCH_FRAMES = 1000  # half of what a broker takes in one call

# With many streams under way at a slow pace, a wait of two milliseconds halves what each token
# costs. First and last frames never wait, nor does anything that is large already.
LINGER_S = 0.002
LINGER_STREAMS = 16
LINGER_BYTES = 32 << 10


class Uploader:
    def __init__(
        self,
        post: Callable[[bytes], Awaitable[ResultsAnswer]],
        session_unknown: Callable[[], Awaitable[None]],
        settled: Callable[[str], None],
        backoff: Backoff,
        batch_bytes: int = 4 << 20,
        crowded_bytes: int = 8 << 20,
    ) -> None:
        self._post = post
        self._session_unknown = session_unknown
        self._settled = settled
        self._backoff = backoff
        self._limit = BatchLimit(batch_bytes)
        self._crowded_bytes = crowded_bytes
        self._queue: deque[Outgoing] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._under_way = 0
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._encode = msgspec.json.Encoder().encode

    # ── for the tasks ───────────────────────────────────────────────────────

    def add(self, out: Outgoing, size: int, urgent: bool = True) -> None:
        self._waiting_bytes += size
        if urgent:
            self._urgent.set()
        if not out.queued:
            out.queued = True
            self._queue.append(out)
            self._news.set()
            self._empty.clear()

    def grew(self, size: int, urgent: bool) -> None:
        self._waiting_bytes += size
        if urgent:
            self._urgent.set()

    def stream_began(self) -> None:
        self._under_way += 1

    def stream_ended(self) -> None:
        self._under_way -= 1

    @property
    def crowded(self) -> bool:
        return self._waiting_bytes > self._crowded_bytes

    async def room(self) -> None:
        """Waits while too much is pending: a backend is then not read any further."""
        while self.crowded:
            self._room.clear()
            await self._room.wait()

    async def flushed(self) -> None:
        await self._empty.wait()

    # ── the loop ────────────────────────────────────────────────────────────

    async def run(self) -> None:
        while True:
            await self._news.wait()
            if self._under_way >= LINGER_STREAMS and not self._urgent.is_set() and self._waiting_bytes < LINGER_BYTES:
                await self._linger()
            self._urgent.clear()
            await self._deliver(self._take())
            if not self._queue:
                self._news.clear()
                self._empty.set()

    async def _linger(self) -> None:
        timer = asyncio.get_running_loop().call_later(LINGER_S, self._urgent.set)
        try:
            await self._urgent.wait()
        finally:
            timer.cancel()

    def _take(self) -> list[Line]:
        batch, size = [], 0
        while self._queue and size < self._limit.bytes and len(batch) < BATCH_FRAMES:
            out = self._queue[0]
            while out.frames and size < self._limit.bytes and len(batch) < BATCH_FRAMES:
                frame = out.numbered(out.frames.pop(0))
                text = self._encode(frame)
                batch.append(Line(out, frame, text))
                size += len(text)
            if not out.frames:
                self._queue.popleft()
                out.queued = False
        if not self._queue:
            self._waiting_bytes = 0
        else:
            self._waiting_bytes = max(0, self._waiting_bytes - size)
        if not self.crowded:
            self._room.set()
        return batch

    async def _deliver(self, batch: list[Line]) -> None:
        while batch:
            part = self._limit.part(batch)
            rest = batch[len(part):]
            try:
                answer = await self._post(b"\n".join([line.text for line in part]))
            except Unavailable as err:
                if isinstance(err, TooSlow):
                    self._limit.too_slow(part)
                log.debug("results are not delivered yet: %s", err)
                await asyncio.sleep(self._backoff.next_s())
                batch = self._without_expired(batch)
                continue
            except Refused as err:
                batch = await self._after_refusal(part, err) + _wanted(rest)
                continue
            self._backoff.reset()
            self._limit.delivered(part)
            batch = self._read(part, answer.results) + _wanted(rest)

    def _read(self, batch: list[Line], answers: list[FrameAnswer]) -> list[Line]:
        """Takes note of the answers; returns what has to be sent again."""
        again: list[Line] = []
        for number, (line, answer) in enumerate(zip(batch, answers)):
            if answer.status == 200:
                if answer.cancelled:
                    self._stop(line.out, "cancelled")
                if is_last(line.frame):
                    self._settled(line.out.task_id)
            elif answer.status == 409 and answer.expected is not None and line.frame.error is None:
                if not any(kept.out is line.out for kept in again):
                    again += self._from_expected(line.out, answer.expected, batch)
            elif answer.status == 422:
                again += self._instead(line, "it is malformed")
            else:
                self._over(line.out)
        if len(answers) < len(batch):
            log.error("the broker answered %d of %d result frames", len(answers), len(batch))
            for line in batch[len(answers):]:
                self._over(line.out)
        return again

    def _from_expected(self, out: Outgoing, expected: int, batch: list[Line]) -> list[Line]:
        """The broker misses a frame: send from there on, or end the task when that frame is gone."""
        lines = [line for line in batch if line.out is out and line.frame.seq is not None]
        missing = [line for line in lines if line.frame.seq >= expected]
        if missing and missing[0].frame.seq == expected and out.resent_from != expected:
            out.resent_from = expected
            return missing
        log.error("task %s: the broker lost frame %d, which is no longer held", out.task_id, expected)
        self._stop(out, "publisher_error")
        out.drop()
        return [self._word(out, expected, "frames of the answer were lost on the way", "publisher_error")]

    async def _after_refusal(self, batch: list[Line], refusal: Refused) -> list[Line]:
        """The whole POST was refused. Returns what has to be sent again."""
        if refusal.status == 404:
            await self._session_unknown()
            await asyncio.sleep(self._backoff.next_s())
            return self._without_expired(batch)
        if refusal.status not in OF_THE_FRAMES:
            log.error("the broker refuses results: %s", refusal)
            await asyncio.sleep(self._backoff.next_s())
            return self._without_expired(batch)
        if len(batch) > 1:  # one of them is the reason: send them one by one
            for line in batch:
                await self._deliver([line])
            return []
        return self._instead(batch[0], str(refusal))

    def _instead(self, line: Line, reason: str) -> list[Line]:
        """The broker cannot take this frame: the task ends with an error in its place."""
        log.error("task %s: the broker refuses a frame: %s", line.out.task_id, reason)
        if line.frame.error is not None or line.frame.seq is None:
            self._over(line.out)
            return []
        self._stop(line.out, "publisher_error")
        line.out.drop()
        return [self._word(line.out, line.frame.seq, f"the broker refused the answer: {reason}", "publisher_error")]

    def _word(self, out: Outgoing, seq: int, message: str, code: str) -> Line:
        frame = Result(out.task_id, seq=seq, error=message, code=code)
        return Line(out, frame, self._encode(frame))

    def _without_expired(self, batch: list[Line]) -> list[Line]:
        now = time.monotonic()
        for line in batch:
            if line.out.give_up_at < now:
                self._over(line.out)
        return [line for line in batch if line.out.give_up_at >= now]

    def _over(self, out: Outgoing) -> None:
        """Nobody waits for this task any more."""
        out.drop()
        self._stop(out, "gone")
        self._settled(out.task_id)

    @staticmethod
    def _stop(out: Outgoing, code: str) -> None:
        if out.stop is not None:
            out.stop("cancelled" if code == "cancelled" else "the broker no longer wants this task", code)


def _wanted(lines: list[Line]) -> list[Line]:
    """Without what the broker would refuse; of a dropped task only a last word still counts."""
    return [line for line in lines if not line.out.dropped or line.frame.error is not None]
