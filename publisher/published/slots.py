"""How many requests a backend gets at once: never more than its slots, first come, first served.

The number may change while requests run: fewer slots take effect as they end.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    def __init__(self, limit: int = 1) -> None:
        self.limit = limit
        self.running = 0
        self._written: dict[str, int] = {}
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return sum(not place.done() for place in self._line)

    def write(self, name: str, limit: int | None) -> None:
        """What the config says for the provider of that name; ``None`` for nothing, which may be no more."""
        had = self._written.pop(name, None)
        if limit is not None:
            self._written[name] = limit
            self.resize(limit)
        elif had is not None:
            self.resize(next(reversed(self._written.values()), 1))

    def resize(self, limit: int) -> None:
        self.limit = limit
        self._let_in()

    async def __aenter__(self) -> None:
        if self.running < self.limit and not self._line:
            self.running += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # let in, and gone in the same moment
                self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self.running -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._line and self.running < self.limit:
            place = self._line.popleft()
            if not place.done():
                self.running += 1
                place.set_result(None)
