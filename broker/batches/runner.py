"""Runs batches at this replica: takes those that nobody runs, a few at a time, and gives them back when it shuts down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from broker.errors import Refusal, StoreUnavailable
from broker.store import Store
from broker.store.batches import Batch

from .run import Lost, Run

log = logging.getLogger(__name__)

_AT_ONCE = 8


class Runner:
    """``begin`` makes a run of a batch. ``poll_s``: how often it looks for batches of which it heard nothing."""

    def __init__(self, store: Store, begin: Callable[[Batch], Run], *, poll_s: float):
        self._store = store
        self._begin = begin
        self._poll_s = poll_s
        self._bell = asyncio.Event()
        self._runs: set[asyncio.Task] = set()

    def nudge(self) -> None:
        """A batch was made, or is to end."""
        self._bell.set()

    async def run(self) -> None:
        """Takes batches, for ever; across outages of Redis."""
        try:
            while True:
                with suppress(StoreUnavailable):
                    while len(self._runs) < _AT_ONCE and (batch := await self._store.batches.claim()):
                        run = asyncio.create_task(self._go(batch))
                        self._runs.add(run)
                        run.add_done_callback(self._runs.discard)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await self._bell.wait()
                self._bell.clear()
        finally:
            for run in self._runs:
                run.cancel()
            await asyncio.gather(*self._runs, return_exceptions=True)

    async def _go(self, batch: Batch) -> None:
        try:
            await self._begin(batch).go()
        except Lost:
            log.warning("another replica runs that batch now", extra={"batch": batch.id})
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):
                await self._store.batches.release(batch)
            raise
        except Refusal as why:
            # Its lease will end, and somebody begins where it stands.
            log.warning("batch interrupted", extra={"batch": batch.id, "why": why.message})
        except Exception:
            log.exception("bug", extra={"batch": batch.id})
