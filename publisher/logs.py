"""One line per event on stderr: for people by default, JSON for machines.

Colours only on a terminal that wants them; nothing in a text can act on the
terminal. Handed texts only: whoever logs must not put a token into one.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import time
import traceback
from typing import TextIO

from publisher.terminal.printable import printable

COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31m"}


class Human(logging.Formatter):
    def __init__(self, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = f"{clock} {level}{printable(record.getMessage())}{_place(record)}"
        colour = COLOURS.get(record.levelname) if self._colours else None
        return f"{colour}{text}\033[0m" if colour else text


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "ts": f"{now}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "request", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(line, ensure_ascii=False)


class Unhurried(logging.StreamHandler):
    """A line that nobody takes just now (a full pipe, a terminal that is held) is lost: the publisher never waits."""

    AT_ONCE = 4096  # what a pipe with any room takes without waiting

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0
        try:
            self._file = stream.fileno()
        except (OSError, ValueError, AttributeError):  # no file of the system's: it never makes us wait
            self._file = -1

    def emit(self, record: logging.LogRecord) -> None:
        if self._file < 0:
            return super().emit(record)
        data = (self.format(record) + "\n").encode(errors="replace")
        if self._lost:
            data = f"({self._lost} lines of this log are lost: nobody read them)\n".encode() + data
        try:
            while data and self._takes():
                data = data[os.write(self._file, data[: self.AT_ONCE]) :]
        except (OSError, ValueError):  # whoever read it is gone
            pass
        self._lost = self._lost + 1 if data else 0

    def _takes(self) -> bool:
        if sys.platform == "win32":  # its pipes cannot be asked
            return True
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        return bool(poll.poll(0))


def set_up_logging(as_json: bool, quiet: bool, handler: logging.Handler | None = None) -> None:
    """``handler``: in place of lines on stderr; it has a formatter of its own."""
    if handler is None:
        handler = Unhurried(sys.stderr)
        colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        handler.setFormatter(Json() if as_json else Human(colours))
    logger = logging.getLogger("publisher")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def _place(record: logging.LogRecord) -> str:
    """Where an unexpected error came from; the whole traceback is in the JSON log."""
    if not (record.exc_info and record.exc_info[1] and record.exc_info[1].__traceback__):
        return ""
    frame = traceback.extract_tb(record.exc_info[1].__traceback__)[-1]
    return f" at {os.path.basename(frame.filename)}:{frame.lineno}"
