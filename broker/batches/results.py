"""What was written down of a batch while it ran, and the files that it becomes.

Each epoch writes to files of its own, so one that was taken for dead can disturb nobody: of a line that was written down
twice the first counts, and what is torn counts not at all.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec

from broker.folder import Draft, Folder
from broker.store.batches import Batch

from .lines import lines
from .outcomes import Outcome, number_of

_OUT, _ERR = "out", "err"


class _Counts(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class _Body(msgspec.Struct):
    usage: _Counts | None = None


class _Response(msgspec.Struct):
    body: _Body


class _Line(msgspec.Struct):
    response: _Response


_line = msgspec.json.Decoder(_Line).decode


class Results:
    """``succeeded`` and ``failed``: the numbers of the lines that are done."""

    def __init__(self, folder: Folder, batch: Batch):
        self.succeeded: set[int] = set()
        self.failed: set[int] = set()
        self._folder = folder
        self._batch = batch

    def has(self, number: int) -> bool:
        return number in self.succeeded or number in self.failed

    async def recover(self) -> None:
        """Finds what earlier epochs wrote down."""
        async with aclosing(self._written()) as written:
            async for number, succeeded, _ in written:
                (self.succeeded if succeeded else self.failed).add(number)

    async def write(self, outcomes: list[Outcome]) -> None:
        """On the disk when this returns. Raises FilesUnavailable; then this epoch is to write no more."""
        for kind, chosen in ((_OUT, True), (_ERR, False)):
            text = b"".join(one.line for one in outcomes if one.succeeded is chosen)
            if text:
                await self._folder.append(f"{self._batch.id}.{self._batch.epoch:06d}.{kind}", text)
        for one in outcomes:
            (self.succeeded if one.succeeded else self.failed).add(one.number)

    async def publish(self, rest: AsyncGenerator[Outcome], end: Callable[..., Awaitable[bool]]) -> None:
        """Makes the files, with outcomes for the lines that have none (``rest``, asked after the others are known), and
        ``end``s the batch with (output, error, usage). What it does not want is dropped."""
        self.succeeded, self.failed = set(), set()
        drafts: dict[bool, tuple[str, Draft]] = {}
        usage = [0, 0]
        try:
            async with aclosing(self._written()) as written, aclosing(rest):
                async for number, succeeded, line in written:
                    (self.succeeded if succeeded else self.failed).add(number)
                    await (await self._draft(drafts, succeeded)).write(line + b"\n")
                    if succeeded:
                        _count(usage, line)
                async for one in rest:
                    self.failed.add(one.number)
                    await (await self._draft(drafts, False)).write(one.line)
            for _, draft in drafts.values():
                await draft.keep()
            output, error = ((drafts[kind][0], drafts[kind][1].bytes) if kind in drafts else ("", 0) for kind in (True, False))
            if not await end(output, error, _told(*usage)):
                for name, _ in drafts.values():
                    await self._folder.delete(name)
        finally:
            for _, draft in drafts.values():
                await draft.drop()

    async def forget(self) -> None:
        """Deletes what was written down: it is in the files now."""
        for name in await self._folder.named(f"{self._batch.id}."):
            await self._folder.delete(name)

    async def _written(self) -> AsyncGenerator[tuple[int, bool, bytes]]:
        """(number, succeeded, line) of every line that is done, each once."""
        seen: set[int] = set()
        for name in await self._folder.named(f"{self._batch.id}."):
            # One that was cut off may look whole, but for its line break.
            async with aclosing(lines(self._folder.read(name), sys.maxsize, open_end=False)) as found:
                async for _, line in found:
                    number = number_of(line) if line else None
                    if number is not None and number not in seen:
                        seen.add(number)
                        yield number, name.endswith(_OUT), line

    async def _draft(self, drafts: dict[bool, tuple[str, Draft]], succeeded: bool) -> Draft:
        if succeeded not in drafts:
            name = f"file-{uuid.uuid4().hex}"
            drafts[succeeded] = (name, await self._folder.begin(name))
        return drafts[succeeded][1]


def _told(read: int, written: int) -> dict[str, object]:
    """Tokens as OpenAI's clients know them."""
    return {
        "input_tokens": read, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": read + written,
    }


def _count(usage: list[int], line: bytes) -> None:
    try:
        counts = _line(line).response.body.usage
    except (msgspec.MsgspecError, RecursionError):
        return
    if counts:
        usage[0] += counts.input_tokens or counts.prompt_tokens
        usage[1] += counts.output_tokens or counts.completion_tokens
