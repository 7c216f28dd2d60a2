"""One request and its reply, on the replica whose client waits.

Everything that ends a request passes through ``next``: the parts that the reply
stream brings (answer, error), and the times that only this replica keeps
(deadline, wait in line, silence in mid-answer). It knows neither HTTP nor Redis.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from broker.errors import DeadlineExceeded, QueueWaitExceeded, Relayed, SlowClient, StalledStream

from .numbering import Numbering
from .parts import Head, read_failure, read_head, split


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an exchange waits, in seconds, and how much it holds, in bytes. ``first_byte_s``: longest silence of a
    pool's member before its first byte."""

    deadline_s: float
    queue_wait_s: float
    idle_s: float
    buffer_bytes: int
    first_byte_s: float = float("inf")


class Exchange:
    """Made before the request is dispatched; ``ended`` once nothing more can come. ``sent_at``:
    when it left the line, if it ever was in it. ``place`` and ``place_s``: its place there on arrival (0: none), and
    the seconds that this was expected to take.
    ``kept``: its reply is kept, so its client may leave without that ending the work. ``marks``: headers of ours that
    the answer gets. ``numbering``: gives the events their ids. ``llm``: the pool's member that has it, and ``why``, of
    one that a pool was asked for. ``native``: the answer comes in the client's own language."""

    def __init__(self, task: str, patience: Patience):
        self.task = task
        self.head: Head | None = None
        self.native = False
        self.ended = False
        self.done = False
        self.refused = ""
        self.place = self.place_s = 0
        self.kept = False
        self.llm = self.why = ""
        self.marks: dict[str, str] = {}
        self.numbering: Numbering | None = None
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._parts: deque[tuple[str, bytes]] = deque()
        self._held = 0
        self._waiter: asyncio.Future | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reader = asyncio.current_task()
        self._overflowed = False
        self._given_up = False
        self.started_at = self.sent_at = self._loop.time()
        self._deadline = self.started_at + patience.deadline_s
        self._queue_due: float | None = None
        self._idle_due: float | None = None

    def put(self, parts: bytes) -> None:
        """Takes what the reply stream brought. Never waits: a client that does not read is cancelled
        instead of keeping the others waiting."""
        # A reader that waits for us is not slow, however much comes at once.
        if self._held >= self._patience.buffer_bytes and self._waiter is None:
            self._drop_reader()
            return
        self._held += len(parts)
        self._parts.extend(split(parts))
        self._wake()

    def queued(self, place: int, place_s: int, *, waking: bool) -> None:
        """The request waits in line, at that place and perhaps so long. While its LLM wakes, the wake's own limit
        counts instead."""
        self.place, self.place_s = place, place_s
        if not waking:
            self._queue_due = self._loop.time() + self._patience.queue_wait_s

    @property
    def attempt(self) -> Exchange:
        """The exchange that is under way; of a pooled one that is one of several."""
        return self

    def serve(self, llm: str, why: str = "") -> None:
        """A pool's member has the request now; ``why`` that one was chosen."""
        self.llm = self.marks["X-Served-By"] = llm
        self.why = why
        self._idle_due = self._loop.time() + self._patience.first_byte_s

    def give_up(self, refusal: bytes) -> None:
        """Ends the exchange from this side, with parts as a publisher would send them. Its task has
        not ended by that, so it is still to be cancelled."""
        self._given_up = True
        self._parts.extend(split(refusal))
        self._wake()

    async def next(self, wait_s: float | None = None) -> bytes | None:
        """Bytes for the client, as many as there are; ``b""`` when only the head came or the reply
        is ``done``; None when ``wait_s`` passed. Raises the Refusal that ends the request."""
        while await self._come(wait_s):
            taken = self._take()
            if taken is not None:
                self._held = 0
                self._idle_due = self._loop.time() + self._patience.idle_s
                return taken
        return None

    def _take(self) -> bytes | None:
        """What came for the client; None when it was only news of the line."""
        taken: list[bytes] = []
        news = True
        while self._parts:
            letter, content = self._parts[0]
            if letter == "E" and taken:
                break
            self._parts.popleft()
            if letter in "QW":
                now = self._loop.time()
                if letter == "Q":
                    self.sent_at = now
                self._queue_due = now + self._patience.queue_wait_s if letter == "W" else None
                if content:
                    self.serve(*content.decode().split("\n"))
                continue
            news = False
            if letter == "C":
                taken.append(content if self.numbering is None else self.numbering.marked(content))
            elif letter == "H":
                self.head = self.head or read_head(content)
                if self.numbering is not None:
                    self.numbering.begin(self.head)
            elif letter == "D":
                self.ended = self.done = True
            elif letter == "K":
                if self.numbering is not None:
                    self.numbering.enter(content)
            else:
                self.ended = not self._given_up
                failure = read_failure(content)
                raise Relayed(failure.status, failure.code, failure.message)
        if news:
            return None
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def overflow(self) -> SlowClient | None:
        """The refusal, if the reader was cancelled because it did not keep up."""
        return SlowClient() if self._overflowed else None

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    async def _come(self, wait_s: float | None) -> bool:
        """Waits for parts. False: ``wait_s`` passed first. Raises when one of our own times passed."""
        until = None if wait_s is None else self._loop.time() + wait_s
        while not self._parts:
            due = min(at for at in (self._deadline, self._queue_due, self._idle_due, until) if at is not None)
            # One timer that is usually late on purpose: setting it anew for each token would cost more.
            if self._timer is None or self._timer.when() > due:
                self._set_timer(due)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            if self._parts:
                break
            now = self._loop.time()
            if now >= self._deadline:
                raise DeadlineExceeded()
            if self._queue_due is not None and now >= self._queue_due:
                raise QueueWaitExceeded()
            if self._idle_due is not None and now >= self._idle_due:
                raise StalledStream()
            if until is not None and now >= until:
                return False
        return True

    def _set_timer(self, due: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter:
            self._wake()
            return
        # The reader is busy writing. A client that takes nothing for too long is no reader any more.
        due = min(at for at in (self._deadline, self._idle_due) if at is not None)
        if self._loop.time() >= due:
            self._drop_reader()
        else:
            self._set_timer(due)

    def _drop_reader(self) -> None:
        if not self._overflowed:
            self._overflowed = True
            self._reader.cancel()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
