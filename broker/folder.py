"""The folder where files' bytes are: written in pieces and whole or not at all, read, deleted.

What a file is, and whose, stands in Redis (``store/files.py``). Several replicas need one folder that all of them see.
Everything that waits for the disk does so in a thread.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from broker.errors import Unavailable

_PIECE_BYTES = 1 << 20
_NAMES = 500


class FileNotHere(Unavailable):
    """This replica does not find the bytes of that file: all replicas need one shared folder (BROKER_FILES_DIR)."""

    code = "file_not_here"


class FilesUnavailable(Unavailable):
    """The folder for files cannot be used."""

    code = "files_unavailable"


class Draft:
    """A file that is being written: nobody sees it before ``keep``."""

    def __init__(self, at: Path, to: Path):
        self._at, self._to = at, to
        self._file = open(at, "xb", opener=_private)
        self._held: list[bytes] = []
        self._size = 0
        self.bytes = 0

    async def write(self, data: bytes) -> None:
        """Raises FilesUnavailable."""
        self._held.append(data)
        self._size += len(data)
        self.bytes += len(data)
        if self._size >= _PIECE_BYTES:
            await _in_a_thread(self._flush)

    async def keep(self) -> None:
        """Raises FilesUnavailable."""

        def keep() -> None:
            self._flush()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._at, self._to)
            _sync_folder(self._to.parent)

        await _in_a_thread(keep)

    async def drop(self) -> None:
        """Of one that was kept: nothing."""

        def drop() -> None:
            with suppress(OSError):
                # On a full disk closing fails as well.
                self._file.close()
            self._at.unlink(missing_ok=True)

        await _in_a_thread(drop)

    def _flush(self) -> None:
        self._file.write(b"".join(self._held))
        self._held.clear()
        self._size = 0


class Folder:
    """``place`` None: this broker has none, and refuses files. It is made when the first file is written."""

    def __init__(self, place: Path | None):
        self._place = place

    async def begin(self, name: str) -> Draft:
        """Raises FilesUnavailable."""
        place = self._needed()

        def begin() -> Draft:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Draft(place / f".{name}.{uuid.uuid4().hex[:8]}", place / name)

        return await _in_a_thread(begin)

    async def find(self, name: str) -> Path:
        """Where a file's bytes are. Raises FileNotHere."""
        if self._place is None or not await _in_a_thread((self._place / name).is_file):
            raise FileNotHere()
        return self._place / name

    async def read(self, name: str) -> AsyncGenerator[bytes]:
        """A file's bytes, in pieces. Raises FileNotHere, FilesUnavailable."""
        with await _in_a_thread(open, await self.find(name), "rb") as file:
            while piece := await _in_a_thread(file.read, _PIECE_BYTES):
                yield piece

    async def append(self, name: str, data: bytes) -> None:
        """Adds to a file of our own that is still growing; on the disk when this returns. Raises FilesUnavailable."""
        place = self._needed()

        def append() -> None:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(place / name, "ab", opener=_private) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

        await _in_a_thread(append)

    async def named(self, prefix: str) -> list[str]:
        """The files whose names begin so, in order."""
        if self._place is None:
            return []
        return await _in_a_thread(lambda: sorted(path.name for path in self._place.glob(f"{prefix}*")))

    async def delete(self, name: str) -> None:
        if self._place is not None:
            await _in_a_thread((self._place / name).unlink, True)

    async def clear(self, known: Callable[[list[str]], Awaitable[set[str]]], *, older_than_s: float) -> int:
        """Deletes what nobody knows any more. Young files are left: their row may be just being written. Returns how many."""
        if self._place is None:
            return 0
        before = time.time() - older_than_s
        names = await _in_a_thread(self._old, before)
        deleted = 0
        for start in range(0, len(names), _NAMES):
            some = names[start : start + _NAMES]
            for name in set(some) - await known(some):
                await self.delete(name)
                deleted += 1
        return deleted

    def _old(self, before: float) -> list[str]:
        found = []
        with suppress(FileNotFoundError):
            for entry in os.scandir(self._place):
                with suppress(FileNotFoundError):
                    if entry.is_file() and entry.stat().st_mtime < before:
                        found.append(entry.name)
        return sorted(found)

    def _needed(self) -> Path:
        if self._place is None:
            raise FilesUnavailable("This broker has no folder for files; set BROKER_FILES_DIR.")
        return self._place


async def _in_a_thread(work: Callable, *given):
    try:
        return await asyncio.to_thread(work, *given)
    except OSError as error:
        raise FilesUnavailable(f"The folder for files cannot be used ({error.strerror}); see BROKER_FILES_DIR.") from error


def _private(path: str, flags: int) -> int:
    """Prompts at rest are their owner's alone."""
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
