"""Exclusive groups: of several models on one GPU one is awake; an idle one makes room, a busy one is waited for."""

from __future__ import annotations

import asyncio

import pytest

from publisher.activity import Activity
from publisher.failures import WakeFailed
from publisher.power.group import Group
from publisher.power.power import Power
from publisher.power.ways import Limits, State, Ways
from tests.support.virtual_time import run_virtually


class GPU:
    """Holds one model; two at once are a fault."""

    def __init__(self) -> None:
        self.group = Group("gpu0")
        self.loaded: set[str] = set()
        self.most = 0
        self.order: list[str] = []

    def model(
        self, name: str, *, awake: bool = False, max_wait_s: float = 60.0, min_awake_s: float = 0.0, group_wait_s: float = 60.0,
        knows: bool = True, model: object = None,
    ) -> Model:
        if awake:
            self.loaded.add(name)
        limits = Limits(max_wait_s, min_awake_s, poll_s=0.1, settle_s=10.0, canary_s=1.0, group_wait_s=group_wait_s)
        return Model(self, name, limits, knows, model)


class Model:
    """``knows``: its brokers can hold work back. ``held``: whether they do."""

    def __init__(self, gpu: GPU, name: str, limits: Limits, knows: bool, model: object) -> None:
        self.gpu = gpu
        self.name = name
        self.work = 0
        self.refuses = 0  # so often a broker has work for it that is not heard of yet
        self.knows, self.held, self.breaks = knows, False, False
        ways = Ways(self._wake, self._sleep, self._available)
        self.power = Power(
            name, ways, limits, busy=lambda: self.work > 0, agree=self._agree, beat=lambda: None,
            changed=self._changed, activity=Activity(), group=gpu.group,
            clock=asyncio.get_running_loop().time, model=model, drain=self._drain,
        )
        self.power.seen(name in gpu.loaded)

    async def _wake(self) -> None:
        await asyncio.sleep(1)
        self.gpu.loaded.add(self.name)
        self.gpu.most = max(self.gpu.most, len(self.gpu.loaded))
        self.gpu.order.append(f"+{self.name}")

    async def _sleep(self) -> None:
        assert not self.work, "a busy model was put to sleep"
        await asyncio.sleep(0.5)
        if self.breaks:
            raise RuntimeError("it hangs")
        self.gpu.loaded.discard(self.name)
        self.gpu.order.append(f"-{self.name}")

    async def _available(self) -> bool:
        return self.name in self.gpu.loaded

    async def _agree(self) -> bool:
        self.refuses -= 1
        return self.refuses < 0

    async def _drain(self) -> bool:
        self.held = self.knows
        return self.knows

    def _changed(self) -> None:
        self.held = self.held and self.power.draining


def virtually(test):
    """Runs an async test in virtual time."""

    def run():
        run_virtually(test())

    run.__name__ = test.__name__
    return run


@virtually
async def test_waking_one_puts_the_idle_other_to_sleep_first():
    gpu = GPU()
    a, b = gpu.model("a", awake=True), gpu.model("b")
    await b.power.up()
    assert gpu.loaded == {"b"} and gpu.order == ["-a", "+b"] and a.power.state is State.ASLEEP


@virtually
async def test_a_busy_one_is_waited_for():
    gpu = GPU()
    a, b = gpu.model("a", awake=True), gpu.model("b")
    a.work = 1
    waking = asyncio.create_task(b.power.up())
    await asyncio.sleep(20)
    assert gpu.loaded == {"a"} and b.power.state is State.ASLEEP
    a.work = 0
    await waking
    assert gpu.loaded == {"b"}


@virtually
async def test_one_that_stays_busy_fails_the_wake_by_name_and_keeps_running():
    gpu = GPU()
    a, b = gpu.model("a", awake=True, knows=False), gpu.model("b", max_wait_s=5.0, group_wait_s=0.0)
    a.work = 1
    with pytest.raises(WakeFailed, match='group "gpu0": "a" is busy and was so for 5 s'):
        await b.power.up()
    assert gpu.loaded == {"a"} and a.power.state is State.AWAKE
    a.work = 0
    await b.power.up()
    assert gpu.loaded == {"b"}, "the next wake tries afresh"


@virtually
async def test_what_just_woke_keeps_its_minimum_time():
    gpu = GPU()
    a, b = gpu.model("a", min_awake_s=30.0), gpu.model("b")
    await a.power.up()
    began = asyncio.get_running_loop().time()
    await b.power.up()
    assert gpu.loaded == {"b"} and asyncio.get_running_loop().time() > began + 30


@virtually
async def test_many_wakes_at_once_never_have_two_awake_and_all_get_their_turn():
    gpu = GPU()
    models = [gpu.model(name) for name in "abcd"]

    async def use(model: Model) -> None:
        for _ in range(5):
            await model.power.ready()
            model.work += 1
            assert gpu.loaded == {model.name}
            await asyncio.sleep(0.3)
            model.work -= 1
            model.power.used()
            await asyncio.sleep(0.7)

    for model in models:
        model.power.seen(False)
    await asyncio.gather(*(use(model) for model in models))
    assert gpu.most == 1


@virtually
async def test_a_member_that_left_the_group_is_not_in_the_way():
    gpu = GPU()
    a, b = gpu.model("a", awake=True), gpu.model("b")
    a.work = 1
    await a.power.stop()
    await b.power.up()
    assert "b" in gpu.loaded


@virtually
async def test_a_wake_that_is_stopped_while_it_waits_for_its_turn_blocks_nobody():
    gpu = GPU()
    a, b, c = gpu.model("a", awake=True), gpu.model("b"), gpu.model("c")
    a.work = 1
    waiting = asyncio.create_task(b.power.up())
    await asyncio.sleep(1)
    await b.power.stop()
    with pytest.raises(WakeFailed, match="is stopped"):
        await waiting
    a.work = 0
    await c.power.up()
    assert gpu.loaded == {"c"}
