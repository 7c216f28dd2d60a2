"""Files of OpenAI's Files API: what they are and whose. Their bytes are in a folder (``broker/folder.py``)."""

from __future__ import annotations

from typing import NamedTuple

from broker.errors import Conflict, NotFound, QueueFull

from .owned import page
from .scripts import Caller, Scripts

_MOST = 10_000


class UnknownFile(NotFound):
    """There is no such file; `GET /v1/files` lists those that there are."""

    code = "unknown_file"


class FileInUse(Conflict):
    """A batch that is under way reads this file."""

    code = "file_in_use"


class File(NamedTuple):
    """A file's row; times in seconds."""

    id: str
    filename: str
    purpose: str
    bytes: int
    created_s: int
    expires_s: int


class Files:
    def __init__(self, link: Caller, scripts: Scripts, prefix: str):
        self._link = link
        self._scripts = scripts
        self._prefix = f"{prefix}file:"

    async def put(self, file: File, owner: str) -> None:
        """Raises QueueFull when its owner has too many."""
        ttl_ms = max(1, file.expires_s - file.created_s) * 1000
        if await self._scripts.run(
            "file_put", file.id, owner, file.filename, file.purpose, file.bytes, file.created_s, ttl_ms, _MOST
        ) == b"full":
            raise QueueFull(f"You have {_MOST:,} files; delete some first.")

    async def get(self, file: str, owner: str) -> File:
        """Raises UnknownFile, also for another owner's."""
        row = await self._link.call("HGETALL", self._prefix + file)
        fields = dict(zip(row[::2], row[1::2], strict=True))
        if fields.get(b"owner") != owner.encode():
            raise unknown(file)
        return _read(fields)

    async def page(self, owner: str, *, after: str, limit: int, newest: bool, purpose: str = "") -> tuple[list[File], bool]:
        """Files by age, and whether there are more. Raises BadRequest for an ``after`` that is none."""
        rows, more = await page(self._scripts, "file", owner, after=after, limit=limit, newest=newest, purpose=purpose)
        return [_read(dict(zip(row[::2], row[1::2], strict=True))) for row in rows], more

    async def delete(self, file: str, owner: str) -> None:
        """Raises UnknownFile; FileInUse for the input of a batch that is under way."""
        user = await self._scripts.run("file_delete", file, owner)
        if user == b"unknown":
            raise unknown(file)
        if user:
            raise FileInUse(f"The batch {user.decode()!r} reads this file; cancel it, or wait until it has ended.")

    async def known(self, files: list[str]) -> set[str]:
        """Those that have a row."""
        return {file for file in files if await self._link.call("EXISTS", self._prefix + file)}


def unknown(file: str, *, param: str | None = None) -> UnknownFile:
    return UnknownFile(f"There is no file {file!r}; GET /v1/files lists those that there are.", param=param)


def _read(fields: dict[bytes, bytes]) -> File:
    return File(
        fields[b"id"].decode(), fields[b"filename"].decode(), fields[b"purpose"].decode(),
        int(fields[b"bytes"]), int(fields[b"created"]), int(fields[b"expires"]),
    )
