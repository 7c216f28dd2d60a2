"""Wakes what its warm hours want awake. Putting to sleep is not its matter: see ``idle.py``.

When hours begin, a model is woken as if somebody asked for it. Within them it is
woken again when it sleeps without having been told to, as after the
publisher's start; but never in place of another one of its group.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from publisher.failures import TaskFailed
from publisher.power.ways import State
from publisher.published.endpoint import Endpoint


@dataclass(slots=True)
class Seen:
    """What is remembered of one endpoint from look to look."""

    ends: float  # of its hours, 0 outside: others are other hours, also when nobody looked in between
    opening: bool = False  # they began, and it was not awake since
    again_at: float = 0.0  # after a wake that failed, not before


class Prewarm:
    def __init__(
        self,
        endpoints: Callable[[], Iterable[Endpoint]],
        every_s: float,
        retry_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints = endpoints
        self._every_s = every_s
        self._retry_s = retry_s
        self._clock = clock
        self._seen: WeakKeyDictionary[Endpoint, Seen] = WeakKeyDictionary()
        self._waking: dict[Endpoint, asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            while True:
                for endpoint in list(self._endpoints()):
                    if endpoint.hours:
                        self._look(endpoint)
                await asyncio.sleep(self._every_s)
        finally:
            for task in self._waking.values():
                task.cancel()

    def _look(self, endpoint: Endpoint) -> None:
        ends = endpoint.hours.ends
        seen = self._seen.setdefault(endpoint, Seen(ends))
        if ends and ends != seen.ends:
            seen.opening, seen.again_at = True, 0.0
            endpoint.power.told_to_sleep = False
        seen.ends = ends
        if not ends or self._up_or_moving(endpoint):
            seen.opening = False
        elif self._clock() >= seen.again_at and self._wanted(endpoint, seen.opening):
            seen.opening = False
            self._waking[endpoint] = asyncio.create_task(_up(endpoint), name=f"warm {endpoint.name}")
            self._waking[endpoint].add_done_callback(lambda _: self._woken(endpoint, seen))

    def _woken(self, endpoint: Endpoint, seen: Seen) -> None:
        del self._waking[endpoint]
        seen.again_at = self._clock() + self._retry_s

    def _wanted(self, endpoint: Endpoint, opening: bool) -> bool:
        if endpoint.power.told_to_sleep:
            return False
        mates = [one for one in self._endpoints() if _mates(one, endpoint) and self._up_or_moving(one)]
        return not mates or (opening and not any(one.hours.left_s > 0 for one in mates))

    def _up_or_moving(self, endpoint: Endpoint) -> bool:
        return endpoint.power.state is not State.ASLEEP or endpoint.power.moving or endpoint in self._waking


def _mates(one: Endpoint, other: Endpoint) -> bool:
    group = one.provider.group
    return group is not None and group == other.provider.group and one.power.model is not other.power.model


async def _up(endpoint: Endpoint) -> None:
    with contextlib.suppress(TaskFailed):  # said where it failed
        await endpoint.power.up()
