"""Falling asleep against requests, 10,000 interleavings: every request is served, none meets a sleeping backend.

The real ``Power`` against two brokers that decide as the scripts do (a status of hibernating
is refused while there is work; a hibernating row is woken once, then its line is let in). One
of them cannot be told anything for a while. Delays are drawn from a seed wherever two sides
wait for each other.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from publisher.activity import Activity
from publisher.failures import TaskFailed
from publisher.power.power import Power
from publisher.power.ways import Limits, State, Ways
from tests.support.virtual_time import run_virtually

INTERLEAVINGS = 10_000
BATCHES = 20
REQUESTS = 4
LIMITS = Limits(max_wait_s=1000.0, min_awake_s=0.0, poll_s=0.3, settle_s=1000.0, canary_s=1.0)


class Backend:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.awake = True
        self.served = 0
        self.insulted = 0  # asked while it slept

    async def wake(self) -> None:
        await asyncio.sleep(self._chance.random())
        self.awake = True

    async def sleep(self) -> None:
        await asyncio.sleep(self._chance.random())
        self.awake = False

    async def available(self) -> bool:
        await asyncio.sleep(self._chance.random() / 10)
        return self.awake

    async def serve(self) -> None:
        self.insulted += not self.awake
        await asyncio.sleep(self._chance.random())
        self.insulted += not self.awake
        self.served += 1


class Broker:
    """One row as the scripts see it; each decision is one step, each message takes its time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.status = "active"
        self.leases = 0
        self.line: list[asyncio.Event] = []
        self.waking = False
        self.refusals = 0
        self.wakes = 0
        self.away = False  # for status calls; its requests come through
        self.told = "active"  # what the publisher believes that it knows
        self._turn = asyncio.Lock()  # the publisher sends one status at a time

    async def way(self) -> None:
        await asyncio.sleep(self._chance.random() / 2)

    async def tell(self, status: str) -> bool:
        async with self._turn:
            return await self._told(status)

    async def _told(self, status: str) -> bool:
        await self.way()
        if self.away:
            return True
        agreed = True
        if status == "hibernating" and (self.leases or self.line or self.waking):
            self.refusals += 1
            agreed = False
        elif status == "hibernating":
            self.status = status
        elif self.status != "active":
            self.woken()
        await self.way()
        self.told = status if agreed else self.told
        return agreed

    def woken(self) -> None:
        self.status, self.waking = "active", False
        line, self.line = self.line, []
        self.leases += len(line)
        for turn in line:
            turn.set()


class Publisher:
    def __init__(self, brokers: list[Broker], backend: Backend) -> None:
        self.brokers = brokers
        self.backend = backend
        self.working = 0
        ways = Ways(backend.wake, backend.sleep, backend.available)
        self.power = Power(
            "m", ways, LIMITS, busy=lambda: self.working > 0, agree=self.agree, beat=lambda: None,
            changed=self.changed, activity=Activity(),
        )
        self.tasks: set[asyncio.Task] = set()

    async def agree(self) -> bool:
        if all(await asyncio.gather(*(broker.tell("hibernating") for broker in self.brokers))):
            return True
        await self.announce("active")
        return False

    def changed(self) -> None:
        if self.power.state in (State.AWAKE, State.ASLEEP) and not self.power.moving:
            self.spawn(self.announce("active" if self.power.state is State.AWAKE else "hibernating"))

    async def announce(self, status: str) -> None:
        untold = [broker for broker in self.brokers if broker.told != status and not broker.waking]
        await asyncio.gather(*(broker.tell(status) for broker in untold))

    def spawn(self, work) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def wake(self, broker: Broker) -> None:
        await broker.way()
        await self.power.up()
        broker.told = "active"
        await broker.way()
        broker.woken()

    async def infer(self, broker: Broker) -> None:
        await broker.way()
        self.working += 1
        await self.power.ready()
        await self.backend.serve()
        self.working -= 1
        self.power.used()
        await broker.way()
        broker.leases -= 1


async def client(broker: Broker, publisher: Publisher, at: float) -> None:
    await asyncio.sleep(at)
    turn = asyncio.Event()
    if broker.status == "active" and not broker.line:
        broker.leases += 1
    else:
        broker.line.append(turn)
        if not broker.waking:
            broker.waking = True
            broker.wakes += 1
            publisher.spawn(publisher.wake(broker))
        await turn.wait()
    await publisher.infer(broker)


async def sleeper(publisher: Publisher, chance: random.Random) -> None:
    await asyncio.sleep(chance.random() * 2)
    for _ in range(3):
        try:
            await publisher.power.down()
        except TaskFailed as failure:
            assert failure.code == "busy"
        await asyncio.sleep(chance.random())


async def outage(broker: Broker, chance: random.Random) -> None:
    await asyncio.sleep(chance.random() * 3)
    broker.away = chance.random() < 0.5
    await asyncio.sleep(chance.random() * 3)
    broker.away = False


async def interleaving(seed: int) -> tuple[int, int]:
    """(sleeps called off, wakes) of one run."""
    chance = random.Random(seed)
    backend, brokers = Backend(chance), [Broker(chance), Broker(chance)]
    publisher = Publisher(brokers, backend)
    clients = [client(chance.choice(brokers), publisher, chance.random() * 4) for _ in range(REQUESTS)]
    await asyncio.gather(*clients, sleeper(publisher, chance), outage(brokers[1], chance))
    while publisher.tasks:
        await asyncio.wait(publisher.tasks)
    publisher.changed()  # the look that tells a broker what it missed
    while publisher.tasks:
        await asyncio.wait(publisher.tasks)
    assert backend.served == REQUESTS, f"seed {seed}: {backend.served} served"
    assert not backend.insulted, f"seed {seed}: a sleeping backend was asked"
    for broker in brokers:
        assert (broker.leases, broker.line, broker.waking) == (0, [], False), f"seed {seed}"
        assert (broker.status == "active") == backend.awake, f"seed {seed}: a broker believes otherwise"
    return sum(broker.refusals for broker in brokers), sum(broker.wakes for broker in brokers)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_request_is_lost_in_any_interleaving_with_a_sleep(batch):
    async def all_of_them() -> tuple[int, int]:
        size = INTERLEAVINGS // BATCHES
        runs = [await interleaving(seed) for seed in range(batch * size, (batch + 1) * size)]
        return sum(refused for refused, _ in runs), sum(wakes for _, wakes in runs)

    refused, wakes = run_virtually(all_of_them())
    assert refused and wakes, "the runs did not reach what they are about"
