"""Keeps the broker's word for asleep and awake true while a provider is idle.

A backend that falls asleep or dies by itself is told ``hibernating``, one that
somebody started by hand ``active``. Only providers with a recipe are watched:
the others have no sleep to be woken from. It never wakes anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from publisher.backend import is_up
from publisher.client import Broker, Refused, Unavailable
from publisher.endpoint import ACTIVE, HIBERNATING, Endpoint

log = logging.getLogger("publisher")

MISSES = 2  # one failed check may be a hiccup


class Watch:
    def __init__(self, endpoints: Iterable[Endpoint], broker: Broker, every_s: float) -> None:
        self._endpoints = [endpoint for endpoint in endpoints if endpoint.wake is not None]
        self._broker = broker
        self._every_s = every_s
        self._hurry = asyncio.Event()

    def hurry(self, _: Endpoint) -> None:
        """Something looked down just now: look again without waiting."""
        self._hurry.set()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every_s):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            for endpoint in self._endpoints:
                if endpoint.idle:
                    await self._look(endpoint)

    async def _look(self, endpoint: Endpoint) -> None:
        up = await is_up(endpoint.backend)
        if not endpoint.idle:
            return
        endpoint.misses = 0 if up else endpoint.misses + 1
        if up and endpoint.status == HIBERNATING:
            await self.tell(endpoint, ACTIVE)
        elif endpoint.misses >= MISSES and endpoint.status == ACTIVE:
            await self.tell(endpoint, HIBERNATING)

    async def fall_asleep(self, endpoint: Endpoint) -> None:
        """The sleep recipe, then the news. Nothing counts as idle meanwhile."""
        endpoint.falling_asleep = True
        try:
            await endpoint.sleep()
            await self.tell(endpoint, HIBERNATING)
        finally:
            endpoint.falling_asleep = False

    async def tell(self, endpoint: Endpoint, status: str) -> None:
        """A broker that cannot hear it now hears it at the next look."""
        try:
            await self._broker.status(endpoint.name, status)
        except Refused as err:
            if err.status == 409:  # work is on its way: it decides
                return
            log.warning('"%s" could not be reported %s: %s', endpoint.name, status, err)
        except Unavailable as err:
            log.warning('"%s" could not be reported %s: %s', endpoint.name, status, err)
        else:
            endpoint.status = status
            log.info('"%s" is %s', endpoint.name, status)
