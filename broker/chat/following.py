"""Clients that follow turns from any replica: one blocking read for all of them, from where each is.

A stream is read from its slowest follower that has room; others take of it what they do not have yet. It needs
nothing from the replica that runs the turn.
"""

from __future__ import annotations

import asyncio
import logging

from broker.errors import StoreUnavailable
from broker.store.turn_events import Event, TurnEvents

from .listener import Listener

log = logging.getLogger(__name__)


class Following:
    def __init__(self, events: TurnEvents, *, buffer_bytes: int):
        self._events = events
        self._buffer_bytes = buffer_bytes
        self._listeners: dict[tuple[str, int], set[Listener]] = {}
        self._news = asyncio.Event()

    def follow(self, thread: str, turn: int, after: int) -> Listener:
        """Hears the turn's events from behind that number on, until ``leave``."""
        listener = Listener(self._buffer_bytes, after=after, emptied=self._news.set)
        self._listeners.setdefault((thread, turn), set()).add(listener)
        self._news.set()
        return listener

    def leave(self, thread: str, turn: int, listener: Listener) -> None:
        listeners = self._listeners.get((thread, turn), set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop((thread, turn), None)

    def close(self) -> None:
        """Ends every stream; their clients resume elsewhere."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()

    async def run(self) -> None:
        """Reads for those who follow, for ever; across outages of Redis."""
        while True:
            self._news.clear()
            wanted = self._wanted()
            if not wanted:
                await self._news.wait()
                continue
            try:
                for one, events in (await self._events.wait(wanted)).items():
                    self._hand_out(one, wanted[one], events)
            except StoreUnavailable:
                await asyncio.sleep(0.2)
            except Exception:
                # Whatever it was, a replica that stops reading would leave all followers waiting.
                log.exception("bug", extra={"duty": "following"})
                await asyncio.sleep(1)

    def _hand_out(self, one: tuple[str, int], after: int, events: list[Event]) -> None:
        """``after``: from where the stream was read. Whoever is further back gets it by another read."""
        for listener in self._listeners.get(one, ()):
            if listener.after < after:
                continue
            for event in events:
                if listener.full:
                    break
                listener.put(event)

    def _wanted(self) -> dict[tuple[str, int], int]:
        """From which number on each stream is read: there is somebody with room for it."""
        wanted = {}
        for one, listeners in self._listeners.items():
            behind = [listener.after for listener in listeners if not listener.full]
            if behind:
                wanted[one] = min(behind)
        return wanted
