"""A batch's input: its lines, and what those ask for that are not done. Nothing is decided about when they are run."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from broker.folder import Folder
from broker.store.batches import Batch

from .lines import lines
from .orders import LineRefused, Order, read_order
from .outcomes import Outcome, refused


class Intake:
    """``line_bytes``: longest line."""

    def __init__(self, folder: Folder, batch: Batch, *, line_bytes: int):
        self._folder = folder
        self._batch = batch
        self._line_bytes = line_bytes
        self._names: set[bytes] = set()

    def lines(self) -> AsyncGenerator[tuple[int, bytes | None]]:
        """Raises FileNotHere, FilesUnavailable."""
        return lines(self._folder.read(self._batch.input), self._line_bytes)

    async def orders(self, is_done: Callable[[int], bool]) -> AsyncGenerator[Order | Outcome]:
        """The lines that are not done: what they ask for, or why they are refused. To be read once."""
        async with aclosing(self.lines()) as found:
            async for number, text in found:
                order = self._read(number, text)
                if not is_done(number):
                    yield order

    def _read(self, number: int, text: bytes | None) -> Order | Outcome:
        try:
            order = read_order(self._batch.id, number, text, self._batch.endpoint)
            name = hashlib.sha256(order.custom_id.encode()).digest()[:16]
            if name in self._names:
                raise LineRefused("duplicate_custom_id", f"line {number}: an earlier line has that custom_id", order.custom_id)
            self._names.add(name)
            return order
        except LineRefused as why:
            return refused(self._batch.id, number, why)
