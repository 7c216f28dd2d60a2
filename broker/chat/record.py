"""What a turn says and makes, on its way into its thread.

While one write is under way the rest piles up and goes with the next, so that a quick LLM costs few writes and
nobody who listens waits for Redis. An outage is waited out: the same batch is tried again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from broker.errors import StoreUnavailable
from broker.store.turn_events import Event
from broker.store.turns import Batch, Turns
from broker.threads import Begun, Kept

#: Most of a batch, so that no write holds up Redis.
_EVENTS, _BYTES = 500, 1 << 20
_AGAIN_S = 0.2

_encode = msgspec.json.Encoder().encode


class Record:
    """``hold_s``: longest that the turn may take. ``heard`` gets the word of a write that was not simply ok: cancelled ·
    lost · gone."""

    def __init__(self, turns: Turns, begun: Begun, *, hold_s: float, heard: Callable[[str], None]):
        self._turns = turns
        self._begun = begun
        self._hold_ms = int(hold_s * 1000)
        self._heard = heard
        self._messages: deque[bytes] = deque()
        self._events: deque[tuple[str, bytes]] = deque()
        self._first = 1
        self._count = begun.count
        self._made = [begun.asked]
        self._writing: asyncio.Task | None = None
        self._closed = False

    @property
    def made(self) -> list[bytes]:
        """The turn's messages so far, the user's first, as they are kept."""
        return self._made

    @property
    def next_id(self) -> str:
        """The id of the next message."""
        return f"{self._begun.thread}.{self._begun.count + len(self._made)}"

    def event(self, name: str, data: bytes) -> Event:
        self._events.append((name, data))
        self._go_on()
        return Event(self._first + len(self._events) - 1, name, data)

    def message(self, message: Kept) -> None:
        text = _encode(message)
        self._made.append(text)
        self._messages.append(text)
        self._go_on()

    async def end(self, error: bytes, within_s: float) -> str:
        """Writes the rest and ends the turn; ``error``: JSON, empty for none. The answer is ok · lost · gone, or '' when
        Redis could not be told in time."""
        self._closed = True
        try:
            async with asyncio.timeout(within_s):
                if self._writing:
                    await asyncio.shield(self._writing)
                while not self._holds_all(batch := self._next()):
                    await self._write_next()
                while True:
                    try:
                        return await self._turns.end(self._begun, batch, error)
                    except StoreUnavailable:
                        await asyncio.sleep(_AGAIN_S)
        except TimeoutError:
            return ""

    def _go_on(self) -> None:
        if self._writing is None and not self._closed:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while (self._events or self._messages) and not self._closed:
            word = await self._write_next()
            if word not in ("ok", ""):
                self._heard(word)
            if word in ("lost", "gone"):
                self._closed = True
        self._writing = None

    async def _write_next(self) -> str:
        """One batch; the store's word, '' when it is to be tried again."""
        batch = self._next()
        try:
            word = await self._turns.write(self._begun, batch, hold_ms=self._hold_ms)
        except StoreUnavailable:
            await asyncio.sleep(_AGAIN_S)
            return ""
        for _ in batch.messages:
            self._messages.popleft()
        for _ in batch.events:
            self._events.popleft()
        self._first += len(batch.events)
        self._count += len(batch.messages)
        return word

    def _holds_all(self, batch: Batch) -> bool:
        return len(batch.messages) == len(self._messages) and len(batch.events) == len(self._events)

    def _next(self) -> Batch:
        messages, events, size = [], [], 0
        for message in self._messages:
            if size > _BYTES:
                break
            messages.append(message)
            size += len(message)
        for event in self._events:
            if size > _BYTES or len(events) == _EVENTS:
                break
            events.append(event)
            size += len(event[1])
        return Batch(self._first, self._count, messages, events)
