"""Several models on one GPU and people who ask for all of them: few swaps, bounded waits, nobody refused or interrupted.

The real ``Power`` and ``Group`` in virtual time, before a broker that decides as its scripts do.
"""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.activity import Activity
from publisher.power.group import Group
from publisher.power.power import Power
from publisher.power.ways import Limits, State, Ways
from tests.support.virtual_time import run_virtually

WAKE_S, SLEEP_S = 3.0, 1.0
CALL_S = 0.01  # one way between broker and publisher
SLACK_S = 1.0  # looks at intervals


class Row:
    """One model: its row at the broker, with the line; and the publisher's side of it."""

    def __init__(self, gpu: GPU, name: str, slots: int, group_wait_s: float, knows: bool) -> None:
        self.gpu, self.name, self.slots, self.knows = gpu, name, slots, knows
        self.status, self.held, self.wake, self.leases = "hibernating", False, False, 0
        self.line: list[asyncio.Event] = []
        self.working = 0
        self.waits: list[float] = []
        self.power = Power(
            name, Ways(self._load, self._unload, self._loaded), Limits(60.0, 0.0, 0.5, 10.0, 1.0, group_wait_s),
            busy=lambda: self.working > 0, agree=self._agree, beat=lambda: None, changed=self._changed,
            activity=Activity(), group=gpu.group, clock=asyncio.get_running_loop().time, drain=self._drain,
        )
        self.power.seen(False)

    # ── the client ──────────────────────────────────────────────────────────

    async def ask(self, takes_s: float) -> None:
        began = self.gpu.now()
        turn = asyncio.Event()
        self.line.append(turn)
        self._attend()
        await turn.wait()
        await asyncio.sleep(CALL_S)
        self.working += 1
        await self.power.ready()
        self.waits.append(self.gpu.now() - began)
        assert self.gpu.loaded == {self.name}, "a request met a model that is not there"
        self.gpu.served.append(self.name)
        await asyncio.sleep(takes_s)
        self.working -= 1
        self.power.used()
        await asyncio.sleep(CALL_S)
        self.leases -= 1
        self._attend()

    # ── the broker ──────────────────────────────────────────────────────────

    def _attend(self) -> None:
        if self.status == "hibernating":
            if self.line and not self.wake:
                self.wake = True
                self.gpu.spawn(self._woken())
            return
        while self.line and not self.held and self.leases < self.slots:
            self.leases += 1
            self.line.pop(0).set()

    async def _woken(self) -> None:
        await asyncio.sleep(CALL_S)
        self.working += 1
        await self.power.up()
        self.working -= 1
        await asyncio.sleep(CALL_S)
        if self.wake:
            self.wake, self.status, self.held = False, "active", False
            self._attend()

    async def _agree(self) -> bool:
        await asyncio.sleep(CALL_S)
        if self.leases or self.wake or (self.line and not self.held):
            return False
        waited_s = self.gpu.now() - self.gpu.turn_at
        assert not self.line or waited_s >= self.gpu.group_wait_s, "it had work, and nobody had waited long enough"
        self.status, self.held = "hibernating", False
        self._attend()
        return True

    async def _drain(self) -> bool:
        await asyncio.sleep(CALL_S)
        if self.knows and self.wake:  # its end was not heard of yet
            self.wake, self.status = False, "active"
            self._attend()
        self.held = self.knows
        return self.knows

    def _changed(self) -> None:
        if self.power.state is State.AWAKE and not self.power.draining and self.held:
            self.held = False
            self._attend()

    # ── the GPU ─────────────────────────────────────────────────────────────

    async def _load(self) -> None:
        await asyncio.sleep(WAKE_S)
        self.gpu.loaded.add(self.name)
        assert len(self.gpu.loaded) == 1, "two at once"
        self.gpu.swaps += 1
        self.gpu.turn_at = self.gpu.now()

    async def _unload(self) -> None:
        assert not self.working or self.wake, "one with work was put to sleep"
        await asyncio.sleep(SLEEP_S)
        self.gpu.loaded.discard(self.name)

    async def _loaded(self) -> bool:
        return self.name in self.gpu.loaded


class GPU:
    def __init__(self, *names: str, slots: int = 1, group_wait_s: float = 60.0, knows: bool = True) -> None:
        self.now = asyncio.get_running_loop().time
        self.group, self.group_wait_s = Group("gpu0"), group_wait_s
        self.loaded: set[str] = set()
        self.served: list[str] = []
        self.swaps, self.turn_at = 0, 0.0
        self.tasks: set[asyncio.Task] = set()
        self.rows = {name: Row(self, name, slots, group_wait_s, knows) for name in names}

    def spawn(self, work) -> asyncio.Task:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def all_asked(self, *asked: tuple[float, str, float]) -> None:
        """(when, of which model, how long it takes) for each."""

        async def one(at_s: float, name: str, takes_s: float) -> None:
            await asyncio.sleep(at_s)
            await self.rows[name].ask(takes_s)

        await asyncio.gather(*(one(*each) for each in asked))
        assert len(self.served) == len(asked)

    @property
    def runs(self) -> list[str]:
        """Of which models one after the other."""
        return [name for name, _ in itertools.groupby(self.served)]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=24), st.integers(1, 4), st.randoms(use_true_random=False))
def test_requests_that_come_together_are_served_model_by_model(order, slots, chance):
    async def test():
        gpu = GPU(*"abcd", slots=slots)
        await gpu.all_asked(*((chance.random() * 2, name, chance.random() * 2) for name in order))
        assert len(gpu.runs) == gpu.swaps == len(set(order)), gpu.served

    run_virtually(test())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1 << 30), st.integers(2, 4), st.integers(1, 3), st.sampled_from([0.0, 5.0, 20.0, 60.0]))
def test_under_any_load_swaps_are_bounded_and_so_are_waits(seed, models, slots, group_wait_s):
    async def test():
        chance = random.Random(seed)
        names = "abcd"[:models]
        gpu = GPU(*names, slots=slots, group_wait_s=group_wait_s)
        longest_s, span_s = 8.0, 400.0
        asked = [(chance.random() * span_s, chance.choice(names), chance.random() * longest_s) for _ in range(120)]
        await gpu.all_asked(*asked)
        # A model's stay, at most: the patience with it, what it had begun, and the swap.
        stay_s = group_wait_s + longest_s + WAKE_S + SLEEP_S + SLACK_S
        for row in gpu.rows.values():
            # Those before it in its own line may need several of its stays.
            stays = 1 + len(row.waits) * longest_s / slots / max(group_wait_s, 1.0)
            assert max(row.waits, default=0) <= models * stay_s * (stays + 1)
        assert len(gpu.runs) == gpu.swaps, "each stay served somebody"

    run_virtually(test())


@pytest.mark.parametrize("group_wait_s", [10.0, 60.0])
def test_with_two_models_that_always_have_work_each_stays_for_its_time_and_no_longer(group_wait_s):
    async def test():
        gpu = GPU("a", "b", slots=2, group_wait_s=group_wait_s)
        span_s, takes_s = 1200.0, 4.0
        async def customer(name: str) -> None:
            while gpu.now() < span_s:
                await gpu.rows[name].ask(takes_s)

        await asyncio.gather(*(customer(name) for name in "aaaabbbb"))
        stay_s = group_wait_s + WAKE_S + SLEEP_S
        assert span_s / (stay_s + takes_s + SLACK_S) - 2 <= gpu.swaps <= gpu.now() / stay_s + 2
        for row in gpu.rows.values():
            assert max(row.waits) <= stay_s + 2 * takes_s + WAKE_S + SLEEP_S + SLACK_S

    run_virtually(test())


def test_one_request_among_many_of_another_model_waits_for_the_bound_and_what_runs_and_not_longer():
    async def test():
        gpu = GPU("a", "b", group_wait_s=30.0)
        await gpu.rows["a"].ask(1.0)
        many = [gpu.spawn(gpu.rows["a"].ask(5.0)) for _ in range(40)]
        await asyncio.sleep(1)
        await gpu.rows["b"].ask(1.0)
        assert 30.0 <= gpu.rows["b"].waits[0] <= 30.0 + 5.0 + SLEEP_S + WAKE_S + SLACK_S
        await asyncio.gather(*many)
        assert gpu.runs == ["a", "b", "a"]

    run_virtually(test())


def test_a_broker_that_cannot_hold_work_back_fails_the_wake_as_before_and_loses_nothing():
    async def test():
        gpu = GPU("a", "b", group_wait_s=1.0, knows=False)
        await gpu.rows["a"].ask(1.0)
        many = [gpu.spawn(gpu.rows["a"].ask(5.0)) for _ in range(30)]
        await asyncio.sleep(1)
        failing = asyncio.create_task(gpu.rows["b"].power.up())
        await asyncio.wait([failing])
        assert 'group "gpu0": "a" is busy and was so for 60 s' in str(failing.exception())
        await asyncio.gather(*many)
        await gpu.rows["b"].ask(1.0)
        assert gpu.runs == ["a", "b"]

    run_virtually(test())
