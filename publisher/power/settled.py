"""Looks again and again: until a backend answers after its wake, or answers no more after its sleep.

It runs no recipe and keeps no state; how long it looks is one of the limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from publisher.failures import SleepFailed, WakeFailed
from publisher.power.ways import Limits, Ways


async def until_up(ways: Ways, limits: Limits, clock: Callable[[], float], beat: Callable[[], None]) -> None:
    """``beat``: called at each look, so that brokers know that somebody is at it. Raises ``WakeFailed``."""
    until = clock() + limits.max_wait_s
    while True:
        beat()
        if await ways.available():
            return
        if died := ways.died():
            raise WakeFailed(died)
        left_s = until - clock()
        if left_s <= 0:
            raise WakeFailed(f"the backend did not answer within {limits.max_wait_s:g} s after its wake recipe")
        await asyncio.sleep(min(limits.poll_s, left_s))


async def until_down(ways: Ways, limits: Limits, clock: Callable[[], float]) -> None:
    """A server that takes its time to stop would look awake again, and then be gone. Raises ``SleepFailed``."""
    until = clock() + limits.settle_s
    while await ways.available():
        if clock() >= until:
            raise SleepFailed(f"the backend still answers {limits.settle_s:g} s after its sleep recipe")
        await asyncio.sleep(limits.poll_s)
