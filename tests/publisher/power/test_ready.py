"""A request that comes in the very moment in which a wake or a falling asleep ends."""

from __future__ import annotations

import asyncio

import pytest

from publisher.activity import Activity
from publisher.power.power import Power
from publisher.power.ways import Limits, State, Ways

pytestmark = pytest.mark.timeout(40)  # a loop that never yields is past the reach of asyncio's own limits

LIMITS = Limits(max_wait_s=5.0, min_awake_s=0.0, poll_s=0.01, settle_s=5.0, canary_s=1.0)


class Backend:
    """Wakes and falls asleep once ``gate`` is open, in the same round of the loop in which others hear of it."""

    def __init__(self, awake: bool) -> None:
        self.awake = awake
        self.gate = asyncio.Event()

    async def wake(self) -> None:
        await self.gate.wait()
        self.awake = True

    async def sleep(self) -> None:
        await self.gate.wait()
        self.awake = False

    async def available(self) -> bool:
        return self.awake


def power_of(backend: Backend) -> Power:
    async def agree() -> bool:
        return True

    power = Power(
        "m", Ways(backend.wake, backend.sleep, backend.available), LIMITS, busy=lambda: False, agree=agree,
        beat=lambda: None, changed=lambda: None, activity=Activity(),
    )
    power.seen(backend.awake)
    return power


async def test_a_request_in_the_round_in_which_a_wake_ends_is_let_in():
    backend = Backend(awake=False)
    power = power_of(backend)
    waking = asyncio.create_task(power.up())
    await asyncio.sleep(0.01)

    async def request() -> None:
        await backend.gate.wait()  # after the wake's own waiting, so it goes on right after it
        await power.ready()
        assert backend.awake and power.state is State.AWAKE

    asking = asyncio.create_task(request())
    await asyncio.sleep(0.01)
    backend.gate.set()
    async with asyncio.timeout(10):
        await asyncio.gather(waking, asking)


async def test_a_request_in_the_round_in_which_it_has_fallen_asleep_wakes_it_again():
    backend = Backend(awake=True)
    power = power_of(backend)
    falling = asyncio.create_task(power.down())
    await asyncio.sleep(0.01)

    async def request() -> None:
        await backend.gate.wait()
        await power.ready()
        assert backend.awake and power.state is State.AWAKE

    asking = asyncio.create_task(request())
    await asyncio.sleep(0.01)
    backend.gate.set()
    async with asyncio.timeout(10):
        await asyncio.gather(falling, asking)
