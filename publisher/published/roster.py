"""Every endpoint that is published now, by name. The one place where they come and go.

An endpoint whose provider is unchanged stays the same object, so that what runs
on it never notices a reload. Names are unique; the first one wins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from publisher.config.values import Provider
from publisher.power.ways import State
from publisher.published.endpoint import Endpoint

log = logging.getLogger("publisher")

MOST = 200  # what a broker takes of one session, agents included


class Roster:
    def __init__(self, make: Callable[[Provider], Endpoint], changed: Callable[[], None]) -> None:
        self._make = make
        self._changed = changed
        self._endpoints: dict[str, Endpoint] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def __iter__(self):
        return iter(list(self._endpoints.values()))

    def __len__(self) -> int:
        return len(self._endpoints)

    def get(self, name: str) -> Endpoint | None:
        return self._endpoints.get(name)

    async def publish(self, providers: Iterable[Provider], room: int = MOST) -> None:
        """From now on exactly these; new ones are looked at before anybody hears of them."""
        wanted = self._wanted(providers, room)
        kept = {name: e for name, e in self._endpoints.items() if wanted.get(name) == e.provider}
        new = {name: self._make(provider) for name, provider in wanted.items() if name not in kept}
        await asyncio.gather(*(self._first_look(endpoint) for endpoint in new.values()))
        gone = [endpoint for name, endpoint in self._endpoints.items() if name not in kept]
        for endpoint in gone:
            if endpoint.power.told_to_sleep and (its := new.get(endpoint.name)) and its.power.state is State.ASLEEP:
                its.power.told_to_sleep = True
        self._endpoints = {name: kept.get(name) or new[name] for name in wanted}
        self._hand_over(gone, list(new.values()))
        if new or gone:
            self._changed()

    async def stop(self) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, *(endpoint.stop() for endpoint in self), return_exceptions=True)

    @staticmethod
    def _wanted(providers: Iterable[Provider], room: int) -> dict[str, Provider]:
        wanted: dict[str, Provider] = {}
        left_out = 0
        for provider in providers:
            if provider.name in wanted:
                log.warning('"%s" is there twice: only the first is published', provider.name)
            elif len(wanted) >= room:
                left_out += 1
            else:
                wanted[provider.name] = provider
        if left_out:
            log.error("%d models are not published: one publisher has at most %d rows; narrow the patterns", left_out, MOST)
        return wanted

    @staticmethod
    async def _first_look(endpoint: Endpoint) -> None:
        await endpoint.look(first=True)
        if endpoint.up:
            await endpoint.count_slots()

    def _hand_over(self, gone: list[Endpoint], new: list[Endpoint]) -> None:
        """What is gone ends; what takes its place waits for that end where it would be disturbed by it."""
        ending = [(endpoint, self._retire(endpoint)) for endpoint in gone]
        for endpoint in new:
            before = [end for old, end in ending if old.in_the_way_of(endpoint)]
            if before and endpoint.power.can_wake:
                endpoint.power.follow(before)

    def _retire(self, endpoint: Endpoint) -> asyncio.Task[None]:
        endpoint.gone = True
        task = asyncio.create_task(self._retired(endpoint), name=f"retire {endpoint.name}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        return task

    @staticmethod
    async def _retired(endpoint: Endpoint) -> None:
        try:
            await endpoint.retire()
        except asyncio.CancelledError:
            await endpoint.stop()
            raise
        except Exception as err:
            log.error('"%s" could not be stopped: %r', endpoint.name, err)
