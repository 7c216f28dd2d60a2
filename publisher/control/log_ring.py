"""The last lines of the log, kept in memory for those who ask, and handed on to those who follow.

Bounded in every way: lines, their length, and what waits for a follower that
does not read. It writes nothing anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections import deque

from publisher.logs import Human

LINES = 1000
LONGEST_LINE = 4000


class LogRing(logging.Handler):
    """Added to the logger beside its own handler. Lines come from any thread."""

    def __init__(self, lines: int = LINES) -> None:
        super().__init__()
        self.setFormatter(Human(colours=False))
        self._lines: deque[str] = deque(maxlen=lines)
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)[:LONGEST_LINE]
        except Exception:
            self.handleError(record)
            return
        self._lines.append(line)
        for follower in list(self._followers):
            follower.put(line)

    def logs(self) -> list[str]:
        with self.lock:
            return list(self._lines)

    def follow(self) -> Follower:
        """Every line from now on. Whoever forgets it ends it."""
        follower = Follower(self._lines.maxlen or LINES)
        with self.lock:
            self._followers.add(follower)
        return follower


class Follower:
    """Made where a loop runs. One that is not read loses the oldest lines, and says how many."""

    def __init__(self, most: int) -> None:
        self._waiting: deque[str] = deque()
        self._most = most
        self._lost = 0
        self._more = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def put(self, line: str) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._take, line)

    def _take(self, line: str) -> None:
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(line)
        self._more.set()

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> str:
        while not self._waiting:
            self._more.clear()
            await self._more.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return f"… {lost} lines were lost on the way …"
        return self._waiting.popleft()
