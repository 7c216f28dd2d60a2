"""Runs batches at this replica: takes those that nobody runs, a few at a time, and gives them back when it shuts down, or
when others wait and nothing comes of one: the LLMs that it asks may be away for hours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from broker.errors import Refusal, StoreUnavailable
from broker.store import Store
from broker.store.batches import Batch

from .run import Lost, Run

log = logging.getLogger(__name__)

_AT_ONCE = 8


class Runner:
    """``begin`` makes a run of a batch. ``poll_s``: how often it looks for batches of which it heard nothing. ``patience_s``:
    how long a batch of which no line ends keeps its place, when others wait."""

    def __init__(self, store: Store, begin: Callable[[Batch], Run], *, poll_s: float, patience_s: float):
        self._store = store
        self._begin = begin
        self._poll_s = poll_s
        self._patience_s = patience_s
        self._bell = asyncio.Event()
        self._runs: dict[asyncio.Task, Run] = {}

    def nudge(self) -> None:
        """A batch was made, or is to end."""
        self._bell.set()

    async def run(self) -> None:
        """Takes batches, for ever; across outages of Redis."""
        try:
            while True:
                with suppress(StoreUnavailable):
                    while len(self._runs) < _AT_ONCE and (batch := await self._store.batches.claim()):
                        run = self._begin(batch)
                        task = asyncio.create_task(self._go(batch, run))
                        self._runs[task] = run
                        task.add_done_callback(self._runs.pop)
                    if len(self._runs) == _AT_ONCE:
                        await self._make_room()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await self._bell.wait()
                self._bell.clear()
        finally:
            tasks = list(self._runs)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _make_room(self) -> None:
        task, run = min(self._runs.items(), key=lambda item: item[1].moved_s)
        if not run.rests and time.monotonic() - run.moved_s > self._patience_s and await self._store.batches.any_waits():
            run.rests = True
            task.cancel()

    async def _go(self, batch: Batch, run: Run) -> None:
        try:
            await run.go()
        except Lost:
            log.warning("another replica runs that batch now", extra={"batch": batch.id})
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):
                await self._store.batches.release(batch, behind=run.rests)
            raise
        except Refusal as why:
            # Its lease will end, and somebody begins where it stands.
            log.warning("batch interrupted", extra={"batch": batch.id, "why": why.message})
        except Exception:
            log.exception("bug", extra={"batch": batch.id})
