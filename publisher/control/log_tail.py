"""The end of a file that somebody else writes, and what is added to it.

It goes on when the file is moved away and begun anew, is cut off, or comes to be
only later. It never writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 16
MOST_BYTES = 8 << 20  # of a last line without an end, or of very long ones

# Colours and cursor moves of a server that thinks it prints to a terminal.
_MOVES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


def last_lines(file: BinaryIO, lines: int) -> bytes:
    """Leaves the file at its end."""
    at = file.seek(0, os.SEEK_END)
    if not lines:
        return b""
    tail = b""
    # The break at the very end ends the last line and begins none.
    while at and tail.count(b"\n", 0, -1) < lines and len(tail) < MOST_BYTES:
        size = min(BLOCK, at)
        at = file.seek(at - size)
        tail = file.read(size) + tail
    file.seek(0, os.SEEK_END)
    # Not splitlines(): a progress bar's carriage returns end no line.
    end = b"\n" if tail.endswith(b"\n") else b""
    return b"\n".join(tail.removesuffix(b"\n").split(b"\n")[-lines:]) + end


def follow(path: Path, lines: int, pause: Callable[[], object]) -> Iterator[bytes]:
    """The last lines, then blocks as they come, for ever; ``pause`` waits a moment. Raises ``OSError`` at first only."""
    file = open(path, "rb")
    try:
        yield last_lines(file, lines)
        while True:
            if block := file.read(BLOCK):
                yield block
            elif (newer := _newer(path, file)) is not None:
                # Between the last read and the move something may have been written.
                yield from iter(lambda: file.read(BLOCK), b"")
                file.close()
                file = newer
            else:
                pause()
    finally:
        file.close()


def _newer(path: Path, file: BinaryIO) -> BinaryIO | None:
    """Another file in its place, or the same begun anew."""
    try:
        now, ours = os.stat(path), os.fstat(file.fileno())
        if (now.st_ino, now.st_dev) == (ours.st_ino, ours.st_dev):
            if ours.st_size < file.tell():
                file.seek(0)
            return None
        return open(path, "rb")
    except OSError:  # just moved: the new one is not there yet
        return None


def without_moves(line: str) -> str:
    """For a terminal that must not be moved about: colours gone, of a progress bar only its last state."""
    return _MOVES.sub("", line.rstrip("\r\n")).rpartition("\r")[2].expandtabs()
