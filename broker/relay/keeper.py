"""One call to an upstream whose answer is kept: what comes goes to Redis, whoever follows reads it there.

The replica that calls stays the caller, also when its client has left: only its death, or the reply's end, ends the
call. ``Post`` knows a keeper in the place of an exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.errors import StoreUnavailable
from broker.store.kept import Kept


class Pen:
    """What the upstream's side writes with, as if it were an exchange."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._more = asyncio.Event()

    def put(self, parts: bytes) -> None:
        self._written.append(parts)
        self._more.set()

    async def read(self) -> bytes:
        """All that was written since; waits for something."""
        await self._more.wait()
        self._more.clear()
        parts = b"".join(self._written)
        self._written.clear()
        return parts


class Keeper:
    """``ended``: called once, when the reply is at its end or cannot be kept (True: Redis was away)."""

    def __init__(self, kept: Kept, task: str, ended: Callable[[bool], None]):
        self.task = task
        self.pen = Pen()
        self.ended = False
        self.started_at = asyncio.get_running_loop().time()
        self._kept = kept
        self._say_ended = ended
        self._call: asyncio.Task | None = None

    def runs(self, call: asyncio.Task | None) -> None:
        """The call that writes."""
        self._call = call

    def put(self, parts: bytes) -> None:
        """What the scripts say of the task can only be its end: it was cancelled, or fell due."""
        self._end()

    def give_up(self, refusal: bytes) -> None:
        """Ends it from this side; those who follow are told."""
        if self._call:
            self._call.cancel()
        self.pen.put(refusal)

    async def keep(self) -> None:
        """Writes until the end."""
        try:
            while True:
                parts = await self.pen.read()
                if self.ended:
                    return
                if not await self._kept.append(self.task, parts):
                    return self._end()
        except StoreUnavailable:
            self._end(lost=True)

    def _end(self, *, lost: bool = False) -> None:
        if self.ended:
            return
        self.ended = True
        if self._call:
            self._call.cancel()
        self.pen.put(b"")
        self._say_ended(lost)
