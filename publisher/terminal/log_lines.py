"""The log while the live view runs: lines wait here until the view draws them above itself.

Bounded: of a flood only the newest are kept, and how many are missing is said.
Requests that ended well are left to the view. Any thread may log.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable

from rich.text import Text

from publisher.logs import Human

LINES_KEPT = 500
STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class LogLines(logging.Handler):
    def __init__(self, ascii_only: bool, news: Callable[[], None]) -> None:
        super().__init__()
        self.setFormatter(Human(colours=False))
        self._ascii = ascii_only
        self._news = news
        self._lines: deque[tuple[str, str]] = deque()
        self._missing = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def held(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on lines wait to be taken."""
        self._loop = loop

    def released(self) -> None:
        """From now on they go straight to stderr, the ones that wait first."""
        with self.lock:
            self._loop = None
            for text in self.taken():
                self._write(text.plain)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.levelno <= logging.INFO and hasattr(record, "request"):
                return
            text = self.format(record)
            if self._loop is None:
                self._write(text)
                return
            if len(self._lines) >= LINES_KEPT:
                self._lines.popleft()
                self._missing += 1
            self._lines.append((text, STYLES.get(record.levelname, "")))
            self._loop.call_soon_threadsafe(self._news)
        except Exception:
            self.handleError(record)

    def taken(self) -> list[Text]:
        """The lines that wait; they are the caller's to say."""
        with self.lock:
            lines = list(self._lines)
            self._lines.clear()
            if self._missing:
                lines.insert(0, (f"{self._missing} lines of the log are left out here", "dim"))
                self._missing = 0
        return [Text(self._sayable(text), style) for text, style in lines]

    def _sayable(self, text: str) -> str:
        return text.encode("ascii", "backslashreplace").decode() if self._ascii else text

    def _write(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
