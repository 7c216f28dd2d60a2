"""Somebody who listens to a turn: what came for them and was not yet written, bounded in bytes.

Nobody else waits for a listener. One that hears a turn live and falls behind loses its stream, not the turn; one
that follows a stream in Redis is simply not read for while it is full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from broker.errors import SlowClient
from broker.store.turn_events import Event

from .events import error_of, failed


class Listener:
    """``after``: the number of the last event that it has. ``emptied`` is called when what it held was taken."""

    def __init__(self, limit_bytes: int, *, after: int = 0, emptied: Callable[[], None] | None = None):
        self.after = after
        self._limit_bytes = limit_bytes
        self._emptied = emptied
        self._events: deque[Event] = deque()
        self._held = 0
        self._waiter: asyncio.Future | None = None
        self._over = False

    @property
    def full(self) -> bool:
        return self._held >= self._limit_bytes

    def put(self, event: Event) -> None:
        """Takes the next event, unless it is known."""
        if self._over or (event.number and event.number <= self.after):
            return
        if self.full and self._waiter is None:
            self._events.clear()
            event = Event(0, *failed(error_of(SlowClient("The client reads this stream too slowly; the turn goes on, resume its events."))))
        if event.number:
            self.after = event.number
        self._over = event.is_last
        self._events.append(event)
        self._held += len(event.data)
        self._wake()

    def close(self) -> None:
        """Nothing more comes, and nobody says why: its client is to resume elsewhere."""
        self._over = True
        self._wake()

    async def next(self, wait_s: float | None = None) -> list[Event] | None:
        """All that came; empty: it was closed. None when ``wait_s`` passed."""
        if not self._events and not self._over:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(wait_s):
                    await self._waiter
            except TimeoutError:
                return None
            finally:
                self._waiter = None
        taken = list(self._events)
        self._events.clear()
        self._held = 0
        if self._emptied:
            self._emptied()
        return taken

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
