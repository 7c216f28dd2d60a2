"""Puts to sleep what had no work for its time. Never anything with work, what just woke, or what has its warm hours.

Whether there is work at a broker is not known here: falling asleep is agreed with
the brokers, and called off when one has some.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable

from publisher.failures import TaskFailed
from publisher.power.ways import State
from publisher.published.endpoint import Endpoint


def sleeps_in_s(endpoint: Endpoint) -> float | None:
    """Seconds until it would fall asleep; ``None`` when it would not, as things are."""
    idle_s, power = endpoint.provider.idle_s, endpoint.power
    if idle_s is None or not power.can_sleep or power.state is not State.AWAKE or not power.idle:
        return None
    left_s = max(0.0, power.last_used + idle_s - power.clock(), power.stays_awake_s, endpoint.hours.left_s)
    return left_s if left_s < math.inf else None


class Idle:
    def __init__(self, endpoints: Callable[[], Iterable[Endpoint]], most_s: float = 1.0) -> None:
        self._endpoints = endpoints
        self._most_s = most_s
        self._falling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        try:
            while True:
                await asyncio.sleep(min([self._most_s, *self._begin_what_is_due()]))
        finally:
            for task in self._falling:
                task.cancel()

    def _begin_what_is_due(self) -> list[float]:
        left = []
        for endpoint in list(self._endpoints()):
            wait_s = sleeps_in_s(endpoint)
            if wait_s == 0:
                task = asyncio.create_task(_down(endpoint))
                self._falling.add(task)
                task.add_done_callback(self._falling.discard)
            elif wait_s is not None:
                left.append(wait_s)
        return left


async def _down(endpoint: Endpoint) -> None:
    with contextlib.suppress(TaskFailed):  # said where it failed; the next try comes after as long again
        await endpoint.power.down()
