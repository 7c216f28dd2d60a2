"""The file that keeps what a server printed. Nothing that happens to it ever reaches the server.

Appended to, and moved to ``<file>.1`` when it has grown too large. A full disk
or a folder that cannot be written stops the writing, with one warning; it is
tried again a minute later. For threads: writing may block.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import stat
import threading
import time
from pathlib import Path

from publisher.link.session import state_home

MOST_BYTES = 10_000_000
AGAIN_S = 60.0

log = logging.getLogger("publisher")


def log_path(name: str) -> Path:
    """Where the output of the server of that name goes by default: one file for each name."""
    # The digest keeps names apart that differ in case or in characters that no file may have.
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".")[:64]
    return state_home() / "reveille" / "logs" / f"{safe}-{digest}.log"


class LogFile:
    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._file = -1
        self._size = 0
        self._closed_until = 0.0
        self._warned = False
        # The end of one run and the beginning of the next are on two threads.
        self._lock = threading.Lock()

    def write(self, block: bytes) -> None:
        with self._lock:
            self._append(block)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _append(self, block: bytes) -> None:
        if time.monotonic() < self._closed_until:
            return
        try:
            if self._file < 0:
                self._open()
            if self._size + len(block) > self._most_bytes:
                self._rotate()
            self._write(block)
        except OSError as err:
            self._close()
            self._closed_until = time.monotonic() + AGAIN_S
            if not self._warned:
                self._warned = True
                log.warning(
                    "%s cannot be written (%s): what the server prints is lost until it can", self.path, err.strerror
                )

    def _close(self) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Servers print prompts: for the user only. Not blocking, for a FIFO that nobody reads.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        self._file = os.open(self.path, flags, 0o600)
        self._size = os.fstat(self._file).st_size

    def _write(self, block: bytes) -> None:
        while block:
            written = os.write(self._file, block)
            self._size += written
            block = block[written:]

    def _rotate(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode) or self.path.is_symlink():
            self._size = 0  # a terminal, /dev/null, somebody's own arrangement: never moved
            return
        try:
            self._close()  # Windows moves no open file
            os.replace(self.path, f"{self.path}.1")
            self._open()
        except OSError:
            # The folder is not ours: what is old goes, so that the disk does not fill up.
            self._open()
            os.ftruncate(self._file, 0)
            self._size = 0
