"""Wakes one provider's backend: its recipe, then a poll until it answers.

However many tasks want it, one wake runs at a time and all share its end. A task
that stops waiting does not stop the wake. It knows nothing of the broker except
that each poll is worth a heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from publisher.failures import WakeFailed
from publisher.recipe import RecipeFailed

log = logging.getLogger("publisher")


class Wake:
    def __init__(
        self,
        name: str,
        recipe: Callable[[], Awaitable[None]],
        available: Callable[[], Awaitable[bool]],
        beat: Callable[[], None],
        max_wait_s: float,
        poll_s: float,
    ) -> None:
        self._name = name
        self._recipe = recipe
        self._available = available
        self._beat = beat
        self._max_wait_s = max_wait_s
        self._poll_s = poll_s
        self._running: asyncio.Task[int] | None = None

    @property
    def in_flight(self) -> bool:
        return self._running is not None

    async def up(self) -> int:
        """Returns once the backend answers, with the milliseconds it took; else ``WakeFailed``."""
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name=f"wake {self._name}")
            self._running.add_done_callback(self._ended)
        return await asyncio.shield(self._running)

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _ended(self, wake: asyncio.Task[int]) -> None:
        self._running = None
        if wake.cancelled():
            return
        if reason := wake.exception():
            log.error('"%s" did not wake: %s', self._name, reason)
        else:
            log.info('"%s" is awake after %.1f s', self._name, wake.result() / 1000)

    async def _run(self) -> int:
        log.info('waking "%s"', self._name)
        began = time.monotonic()
        try:
            await self._recipe()
        except RecipeFailed as err:
            raise WakeFailed(f"the wake recipe failed: {err}") from None
        until = time.monotonic() + self._max_wait_s
        while True:
            self._beat()
            if await self._available():
                return round((time.monotonic() - began) * 1000)
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise WakeFailed(f"the backend did not answer within {self._max_wait_s:g} s after its wake recipe")
            await asyncio.sleep(min(self._poll_s, left_s))
