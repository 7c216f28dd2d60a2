"""What ends in the middle of a wake or a sleep: it fails for who waits, harms nobody else, and nothing is left shown."""

from __future__ import annotations

import asyncio

import pytest

from publisher.activity import Activity
from publisher.failures import SleepFailed, WakeFailed
from publisher.power.group import Group
from publisher.power.power import Power
from publisher.power.ways import Limits, State, Ways
from tests.support.virtual_time import run_virtually


class Model:
    """A model that takes ten seconds for each way."""

    def __init__(self, name: str = "m", *, awake: bool = False, group: Group | None = None) -> None:
        self.up = awake
        self.activity = Activity()
        self.breaks: Exception | None = None
        self.power = Power(
            name, Ways(self._wake, self._sleep, self._available), Limits(60.0, 0.0, poll_s=0.1, settle_s=10.0, canary_s=1.0),
            busy=lambda: False, agree=self._agree, beat=lambda: None, changed=lambda: None, activity=self.activity,
            group=group, clock=asyncio.get_running_loop().time,
        )
        self.power.seen(awake)

    async def _wake(self) -> None:
        await self._work()
        self.up = True

    async def _sleep(self) -> None:
        await self._work()
        self.up = False

    async def _work(self) -> None:
        await asyncio.sleep(10)
        if self.breaks:
            raise self.breaks

    async def _available(self) -> bool:
        return self.up

    async def _agree(self) -> bool:
        return True


def test_who_waits_for_a_wake_that_is_stopped_hears_of_a_failure():
    async def test():
        model = Model()
        waiting = [asyncio.create_task(way()) for way in (model.power.up, model.power.ready)]
        await asyncio.sleep(1)
        await model.power.stop()
        for one in waiting:
            with pytest.raises(WakeFailed, match="stopped"):
                await one

    run_virtually(test())


def test_a_wake_that_is_stopped_is_shown_no_more():
    async def test():
        model = Model()
        waiting = asyncio.create_task(model.power.up())
        await asyncio.sleep(1)
        assert model.activity.wakes
        await model.power.stop()
        await asyncio.wait([waiting])
        assert waiting.exception() and not model.activity.wakes

    run_virtually(test())


def test_one_that_leaves_its_group_while_it_makes_room_fails_the_wake_and_the_next_one_succeeds():
    async def test():
        group = Group("gpu0")
        a, b = Model("a", awake=True, group=group), Model("b", group=group)
        waiting = asyncio.create_task(b.power.up())
        await asyncio.sleep(1)
        assert a.power.state is State.FALLING
        await a.power.stop()
        with pytest.raises(WakeFailed, match='"a" did not make room'):
            await waiting
        await b.power.up()
        assert b.up

    run_virtually(test())


def test_a_recipe_that_breaks_in_a_way_of_its_own_is_a_failure_like_any_other(caplog):
    async def test():
        model = Model()
        model.breaks = ValueError("embedded null byte")
        with pytest.raises(WakeFailed, match="ValueError"):
            await model.power.up()
        assert model.power.state is State.ASLEEP
        awake = Model(awake=True)
        awake.breaks = ValueError("embedded null byte")
        with pytest.raises(SleepFailed, match="ValueError"):
            await awake.power.down()
        assert awake.power.state is State.AWAKE

    run_virtually(test())
    assert "embedded null byte" in caplog.text


def test_one_that_follows_another_waits_until_that_one_is_stopped_and_then_wakes():
    async def test():
        model = Model(awake=True)
        gone = asyncio.Event()
        before = asyncio.create_task(gone.wait())
        model.power.follow([before])
        model.up = False
        waiting = asyncio.create_task(model.power.ready())
        await asyncio.sleep(100)
        assert not waiting.done() and model.power.moving
        gone.set()
        await waiting
        assert model.up and model.power.state is State.AWAKE

    run_virtually(test())
