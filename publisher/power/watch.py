"""Keeps what is known of every backend true while it is idle, and asks again how many slots it has.

A backend that falls asleep or dies by itself is noticed, and so is one that
somebody started by hand. It never wakes anything.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable

from publisher.published.endpoint import Endpoint

RARELY = 6  # what cannot be woken is looked at every so many times: only people who ask see the difference


class Watch:
    def __init__(
        self,
        endpoints: Callable[[], Iterable[Endpoint]],
        announce: Callable[[Endpoint], None],
        slots_changed: Callable[[], None],
        every_s: float,
    ) -> None:
        self._endpoints = endpoints
        self._announce = announce
        self._slots_changed = slots_changed
        self._every_s = every_s
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Something looked down just now: look again without waiting."""
        self._hurry.set()

    async def run(self) -> None:
        for look in itertools.count():
            try:
                async with asyncio.timeout(self._every_s):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            all_of_them = look % RARELY == 0
            looks = [self._look(one) for one in list(self._endpoints()) if all_of_them or one.power.can_wake]
            await asyncio.gather(*looks)

    async def _look(self, endpoint: Endpoint) -> None:
        if endpoint.power.idle:
            await endpoint.look()
        if not endpoint.power.moving:
            # Also without news: a broker may have missed the last ones, or may have refused them for the work it had.
            self._announce(endpoint)
            if endpoint.up and await endpoint.count_slots():
                self._slots_changed()
