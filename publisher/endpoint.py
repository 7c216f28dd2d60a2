"""One published provider while the program runs: its backend, slots, wake and status.

``status`` is what the broker was told last. Everything here concerns this one
provider; the broker is spoken to elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from publisher.backend import OpenAIBackend, is_up
from publisher.config import Provider
from publisher.wake import Wake

log = logging.getLogger("publisher")

ACTIVE = "active"
HIBERNATING = "hibernating"


class Endpoint:
    def __init__(
        self,
        provider: Provider,
        backend: OpenAIBackend,
        wake: Wake | None = None,
        sleep: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.provider = provider
        self.name = provider.name
        self.backend = backend
        self.wake = wake
        self.sleep = sleep
        self.model_json = msgspec.Raw(msgspec.json.encode(provider.model))
        self.slots = asyncio.Semaphore(provider.slots)
        self.status = ACTIVE
        self.working = 0  # tasks that run or wait for a slot
        self.misses = 0  # checks in a row that found it down
        self.falling_asleep = False

    @property
    def idle(self) -> bool:
        return not self.working and not self.falling_asleep and not (self.wake and self.wake.in_flight)

    def awake(self) -> None:
        """A wake task succeeded: the broker makes the row active by its result."""
        self.status = ACTIVE
        self.misses = 0

    async def look(self) -> None:
        """What it registers as: asleep only when there is a recipe to wake it with."""
        up = await is_up(self.backend)
        self.status = ACTIVE if up or self.wake is None else HIBERNATING
        if self.status == HIBERNATING:
            log.info('"%s" is asleep', self.name)
        elif not up:
            log.warning('"%s": nothing answers at %s, and there is no wake recipe', self.name, self.backend.url)
