"""The streams of what turns say: read from a number on, or waited for, all that are followed in one blocking read.

The blocking read has a connection of its own. Turns write their streams through ``turns.py``.
"""

from __future__ import annotations

from typing import NamedTuple

from .scripts import Caller

#: So often a read that waits is made anew, and so late at most a stream begins to be followed.
_BLOCK_MS = 200
_COUNT = 100


class Event(NamedTuple):
    """``number``: 1, 2, … in a turn; 0: of no stream. ``data``: JSON on one line."""

    number: int
    name: str
    data: bytes

    @property
    def is_last(self) -> bool:
        return self.name in ("final", "error")


class TurnEvents:
    def __init__(self, link: Caller, listening: Caller, prefix: str):
        self._link = link
        self._listening = listening
        self._prefix = prefix

    async def read(self, thread: str, turn: int, after: int) -> list[Event]:
        """The next events after that number, as many as there are up to some hundred; empty: none."""
        entries = await self._link.call("XRANGE", self._key(thread, turn), f"{after + 1}-0", "+", "COUNT", _COUNT)
        return [_event(entry) for entry in entries]

    async def exist(self, thread: str, turn: int) -> bool:
        """Whether the turn's events are still kept."""
        return bool(await self._link.call("EXISTS", self._key(thread, turn)))

    async def wait(self, followed: dict[tuple[str, int], int]) -> dict[tuple[str, int], list[Event]]:
        """For each (thread, turn) its next events after a number. Waits up to 0.2 s for any to come."""
        keys = {self._key(*one).encode(): one for one in followed}
        answer = await self._listening.call(
            "XREAD", "COUNT", _COUNT, "BLOCK", _BLOCK_MS, "STREAMS", *keys, *(f"{after}-0" for after in followed.values())
        )
        return {keys[key]: [_event(entry) for entry in entries] for key, entries in answer or ()}

    def _key(self, thread: str, turn: int) -> str:
        return f"{self._prefix}thread-events:{thread}:{turn}"


def _event(entry: list) -> Event:
    number, (_, name, _, data) = entry
    return Event(int(number.partition(b"-")[0]), name.decode(), data)
