"""Batches of OpenAI's Batch API: their rows, who runs them, how far they are. Each decision is one script.

Who claims a batch has it for a lease, in an epoch of its own; what an earlier epoch says afterwards counts no more.
"""

from __future__ import annotations

import msgspec

from broker.errors import NotFound, QueueFull

from . import files
from .owned import page
from .scripts import Caller, Scripts

#: Unfinished batches of one owner.
_MOST = 100
_NUMBERS = ("created", "expires", "lasts", "epoch", "total", "completed", "failed")


class UnknownBatch(NotFound):
    """There is no such batch; `GET /v1/batches` lists those that there are."""

    code = "unknown_batch"


class Batch(msgspec.Struct):
    """A batch's row; times in seconds. ``window``: its time as it was asked for. ``lasts``: how long its files are kept.
    ``stamps``: when it turned into each status that it has been in."""

    id: str
    owner: str
    endpoint: str
    input: str
    window: str
    wake: bool
    status: str
    created: int
    expires: int
    lasts: int
    epoch: int
    total: int
    completed: int
    failed: int
    metadata: msgspec.Raw
    output: str = ""
    error: str = ""
    errors: msgspec.Raw = msgspec.Raw(b"null")
    usage: msgspec.Raw = msgspec.Raw(b"null")
    stamps: dict[str, int] = {}


class Batches:
    def __init__(self, link: Caller, scripts: Scripts, prefix: str, *, lease_ms: int):
        self._link = link
        self._scripts = scripts
        self._prefix = f"{prefix}batch:"
        self._unfinished = f"{prefix}batches"
        self._lease_ms = lease_ms
        #: How often who runs a batch is to say so.
        self.keep_s = lease_ms / 10_000

    async def create(
        self, batch: str, owner: str, *, endpoint: str, file: str, window: str, created_s: int, expires_s: int, metadata: bytes,
        may_wake: bool, lasts_s: int, ttl_ms: int,
    ) -> None:
        """``lasts_s``: how long its output and errors are kept. Raises UnknownFile, QueueFull."""
        args = (batch, owner, endpoint, file, created_s, expires_s, metadata, ttl_ms, _MOST, window, int(may_wake), lasts_s)
        made = await self._scripts.run("batch_create", *args)
        if made == b"unknown":
            raise files.unknown(file, param="input_file_id")
        if made == b"full":
            raise QueueFull(f"Too many batches are under way, at most {_MOST} of yours; wait until one has ended.", retry_after_s=60)

    async def get(self, batch: str, owner: str) -> Batch:
        """Raises UnknownBatch, also for another owner's."""
        row = await self._link.call("HGETALL", self._prefix + batch)
        found = _read(row) if row else None
        if found is None or found.owner != owner:
            raise _unknown(batch)
        return found

    async def page(self, owner: str, *, after: str, limit: int) -> tuple[list[Batch], bool]:
        """Batches, the newest first, and whether there are more. Raises BadRequest."""
        rows, more = await page(self._scripts, "batch", owner, after=after, limit=limit, newest=True)
        return [_read(row) for row in rows], more

    async def cancel(self, batch: str, owner: str, *, now_s: int) -> str:
        """The status that it has then. Raises UnknownBatch."""
        status = await self._scripts.run("batch_cancel", batch, owner, now_s)
        if status == b"unknown":
            raise _unknown(batch)
        return status.decode()

    async def claim(self) -> Batch | None:
        """A batch that nobody runs, which is ours for a lease."""
        row = await self._scripts.run("batch_claim", self._lease_ms)
        return _read(row) if row else None

    async def keep(self, batch: Batch, status: str = "", **fields: object) -> str:
        """Renews our lease and tells how far it is. The status; "lost": it is not ours any more."""
        pairs = [item for pair in fields.items() for item in pair]
        return (await self._scripts.run("batch_keep", batch.id, batch.epoch, self._lease_ms, status, *pairs)).decode()

    async def release(self, batch: Batch, *, behind: bool = False) -> None:
        """Gives it back; ``behind`` all those that wait already."""
        await self._scripts.run("batch_release", batch.id, batch.epoch, int(behind))

    async def any_waits(self) -> bool:
        """Whether there is one that nobody runs."""
        return bool(await self._scripts.run("batch_waits"))

    async def end(
        self, batch: Batch, status: str, *, now_s: int, ttl_ms: int, output: tuple[str, int], error: tuple[str, int], **fields: object
    ) -> bool:
        """``ttl_ms``: of the batch. ``output``, ``error``: a file's id and size; no id for none. False: it is not ours any more."""
        pairs = [item for pair in fields.items() for item in pair]
        args = (batch.id, batch.epoch, status, now_s, ttl_ms, *output, *error, *pairs)
        return await self._scripts.run("batch_end", *args) == b"ok"

    async def forget_jobs(self, jobs: list[str]) -> None:
        """Forgets those that have ended: what came of them is on the disk."""
        if jobs:
            await self._scripts.run("batch_jobs", *jobs)

    async def unfinished(self, batches: list[str]) -> set[str]:
        """Those that have not ended."""
        scores = await self._link.call("ZMSCORE", self._unfinished, *batches) if batches else []
        return {batch for batch, score in zip(batches, scores, strict=True) if score is not None}


def _read(row: list[bytes]) -> Batch:
    fields = {name.decode(): value for name, value in zip(row[::2], row[1::2], strict=True)}
    given: dict[str, object] = {name: fields.pop(name).decode() for name in ("id", "owner", "endpoint", "input", "window", "status")}
    given["wake"] = fields.pop("wake") == b"1"
    given |= {name: int(fields.pop(name)) for name in _NUMBERS}
    given |= {name: msgspec.Raw(fields.pop(name)) for name in ("metadata", "errors", "usage") if name in fields}
    given |= {name: fields.pop(name).decode() for name in ("output", "error") if name in fields}
    return Batch(**given, stamps={name.removesuffix("_at"): int(value) for name, value in fields.items()})


def _unknown(batch: str) -> UnknownBatch:
    return UnknownBatch(f"There is no batch {batch!r}; GET /v1/batches lists those that there are.")
