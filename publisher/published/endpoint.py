"""One published model while the program runs: its backend, its slots, whether it sleeps.

Everything here concerns this one; brokers are spoken to elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from publisher.backends.seam import Backend
from publisher.config.values import Provider
from publisher.power.hours import Hours
from publisher.power.power import Power
from publisher.power.ways import State
from publisher.published.processes import Held
from publisher.published.slots import Slots

log = logging.getLogger("publisher")

ACTIVE = "active"
DRAINING = "draining"
HIBERNATING = "hibernating"
MISSES = 2  # one failed look may be a hiccup


class Endpoint:
    def __init__(
        self,
        provider: Provider,
        backend: Backend,
        slots: Slots,
        power: Callable[[Endpoint], Power],
        held: Held | None = None,
    ) -> None:
        self.provider = provider
        self.name = provider.name
        self.backend = backend
        self.slots = slots
        self.hours = Hours(provider.warm_hours)
        self.held = held  # the process that its recipe runs
        self.gone = False  # published no more: what still runs on it may end
        self.model_json = msgspec.Raw(msgspec.json.encode(provider.model))
        self.working = 0  # tasks that run, or wait for a slot or a wake, of all brokers
        self.misses = 0  # looks in a row that found it down
        self.up = True  # what the last look found
        self.power = power(self)
        self._none_working = asyncio.Event()
        self._none_working.set()

    @property
    def status(self) -> str:
        """What a broker is to know of it."""
        return self.status_awake if self.power.state is State.AWAKE else HIBERNATING

    @property
    def status_awake(self) -> str:
        """The same, taken as awake: while it falls asleep that may be called off."""
        return DRAINING if self.power.draining else ACTIVE

    @property
    def log_file(self) -> str | None:
        return str(self.held.process.log_file) if self.held else None

    def in_the_way_of(self, other: Endpoint) -> bool:
        """Whether its end would disturb what takes its place: a server of its own is stopped then, or a wake ends."""
        if other.name != self.name and other.backend.url != self.backend.url:
            return False
        ends = self.held is not None and (other.held is None or other.held.process is not self.held.process)
        return self.power.moving or (ends and self.held.process.running)

    @property
    def resident(self) -> bool:
        """Whether only a model in memory counts as awake: so where its own recipe loads it."""
        return self.provider.wake is not None and self.provider.wake.native

    async def available(self) -> bool:
        """A check that throws is a check that failed."""
        try:
            return await self.backend.available(self.provider.model, self.resident)
        except Exception as err:
            log.warning('"%s": the backend at %s could not be checked: %r', self.name, self.backend.url, err)
            return False

    def begin(self) -> None:
        self.working += 1
        self._none_working.clear()

    def end(self) -> None:
        self.working -= 1
        if not self.working:
            self.power.used()
            self._none_working.set()

    def moved(self) -> None:
        """It woke, or fell asleep."""
        if self.power.state is State.AWAKE:
            self.up, self.misses = True, 0
        elif self.power.state is State.ASLEEP:
            self.up = False

    def missed(self) -> None:
        """It refused a connection and could not be woken: no second look is needed."""
        self.misses = MISSES

    async def look(self, first: bool = False) -> None:
        """Sees whether it is up. The first look decides at once, a later one when a second agrees."""
        since = self.power.since
        up = await self.available()
        if self.power.moving or self.power.since != since or (self.working and not first):
            return  # the look may be older than what happened meanwhile
        self.misses = 0 if up else self.misses + 1
        if first or up or self.misses >= MISSES:
            self._found(up, first)

    async def count_slots(self) -> bool:
        """Asks the backend how many requests it takes at once; whether that changed the number."""
        if self.provider.slots is not None:
            return False
        try:
            told = await self.backend.slots(self.provider.model)
        except Exception as err:
            log.warning('"%s": %s could not be asked for its slots: %r', self.name, self.backend.url, err)
            return False
        if told is None or told < 1 or told == self.slots.limit:
            return False
        log.info('"%s" has %d slot%s', self.name, told, "" if told == 1 else "s")
        self.slots.resize(told)
        return True

    async def retire(self) -> None:
        """It is published no more: what runs may end, then what was started for it is stopped."""
        await self._none_working.wait()
        await self.stop()

    async def stop(self) -> None:
        await self.power.stop()
        if self.held is not None:
            await self.held.let_go()

    def _found(self, up: bool, first: bool) -> None:
        news = up != self.up or first
        self.up = up
        self.power.seen(up)
        if not news:
            return
        if not up and self.power.can_wake:
            log.info('"%s" is asleep', self.name)
        elif not up:
            log.warning('"%s": nothing answers at %s, and there is no wake recipe', self.name, self.backend.url)
        elif not first:
            log.info('"%s" is up', self.name)
