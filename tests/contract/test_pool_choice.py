"""Which member a pool chooses: as a model of the order in plain Python does, whatever came before."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given, settings, strategies

from broker.errors import PublisherOffline, QueueFull, WakeForbidden
from tests.support.brokers import replica
from tests.support.places import FakePlace
from tests.support.pools import Asker, make_pool, order_of
from tests.support.provider import BASE, Provider
from tests.support.rows import put_public_llm

WARM, PUBLIC, ASLEEP, FULL, AWAY = 0, 1, 2, 1_000_000, 10_000_000


class Member:
    """A member as the model has it."""

    def __init__(self, name: str, slots: int | None, weight: float, tier: int, band: int):
        self.name, self.slots, self.weight, self.tier, self.state = name, slots, weight, tier, band
        self.running: list[str] = []

    @property
    def band(self) -> int:
        if self.state == WARM and len(self.running) >= self.slots:
            return FULL
        return self.state

    def score(self, average_ms: float, mean_ms: float) -> float:
        speed = max(0.5, min(4.0, average_ms / mean_ms)) if average_ms else 1.0
        return (len(self.running) + 1) / ((self.slots or 64) * self.weight) * speed

    def order(self, average_ms: float, mean_ms: float) -> tuple:
        if self.band >= FULL:
            return (self.band, self.tier, self.score(average_ms, mean_ms), self.name)
        return (0, self.tier, self.band, self.score(average_ms, mean_ms), self.name)


async def averages(place, members: list[Member]) -> dict[str, float]:
    """How long answers of each took, as Redis has it; 0 for unknown."""
    found = {member.name: await place.read(f"load:{member.name}") or {} for member in members}
    return {name: float(load.get(b"avgMs", 0)) for name, load in found.items()}


async def expected(place, members: list[Member], *, may_wake: bool = True) -> Member:
    """The best; who may not wake has the best of those awake, if there are some."""
    if not may_wake:
        members = [one for one in members if one.band not in (ASLEEP, AWAY)] or members
    took = await averages(place, members)
    known = [ms for ms in took.values() if ms]
    mean_ms = sum(known) / len(known) if known else 1.0
    return min(members, key=lambda one: one.order(took[one.name], mean_ms))


async def check_kept_up(place, key: str, members: list[Member]) -> None:
    """The order in Redis is as each member stands, and the sums are sums."""
    order = dict(await place.read(f"order:{key}"))
    load = {name.decode(): value.decode() for name, value in (await place.read(f"order-load:{key}")).items()}
    sums: dict[str, int] = {"\3": 0}
    for member in members:
        if member.band >= FULL:
            score = float(member.band)
        else:
            full = len(member.running) / ((member.slots or 64) * member.weight)
            score = member.tier * 1000 + member.band * 100 + 90 * full / (1 + full)
        assert math.isclose(order[member.name.encode()], score, abs_tol=1e-6), (member.name, order, score)
        if member.band in (WARM, PUBLIC, FULL):
            kind = f"{member.tier}{'p' if member.state == PUBLIC else 'v'}"
            sums["\1" + kind] = sums.get("\1" + kind, 0) + len(member.running)
            capacity = round(10 * (member.slots or 64) * member.weight)
            sums["\2" + kind] = sums.get("\2" + kind, 0) + capacity
            sums["\3"] += member.slots or 0
            assert load.pop(member.name) == f"{kind} {len(member.running)} {member.slots or 0} {capacity}"
    assert {name: int(value) for name, value in load.items() if int(value)} == {name: value for name, value in sums.items() if value}


shapes = strategies.lists(
    strategies.tuples(
        strategies.integers(1, 3), strategies.sampled_from([0.5, 1.0, 2.0]), strategies.integers(0, 1),
        strategies.sampled_from([WARM, WARM, ASLEEP, AWAY, PUBLIC]),
    ), min_size=1, max_size=5,
)
steps = strategies.lists(strategies.sampled_from(["ask", "ask", "ask", "finish", "sleep", "wake"]), max_size=25)


@pytest.mark.limit_s(120)
def test_the_choice_is_that_of_a_plain_model_whatever_came_before():
    @settings(max_examples=40, deadline=None)
    @given(shapes, steps, strategies.randoms(use_true_random=False))
    def holds(shape, steps, random) -> None:
        asyncio.run(asyncio.wait_for(chooses_alike(shape, steps, random), 60))

    holds()


async def chooses_alike(shape, steps, random) -> None:
    place = FakePlace()
    async with replica(place, tick_seconds=60, sweep_seconds=60) as broker, Provider(broker, "other") as provider:
        members = [Member(f"m{number}", *terms) for number, terms in enumerate(shape)]
        await publish(place, provider, members)
        await make_pool(broker, "pool", *({"llm": one.name, "weight": one.weight, "tier": one.tier} for one in members))
        asker = Asker(broker)
        for step in ["ask", *steps]:
            if step == "ask":
                await ask_once(place, asker, members)
            elif step == "finish" and asker.held:
                await end(asker, provider, members, random.randrange(len(asker.held)))
            elif step in ("sleep", "wake"):
                await turn(provider, members, step, random)
            await check_kept_up(place, "p:pool", members)
        while asker.held:
            await end(asker, provider, members, 0)
    await place.check_left_clean()


async def publish(place, provider: Provider, members: list[Member]) -> None:
    """Makes the rows; those that are away are of a session without a channel."""
    rows = [
        {"name": one.name, "slots": one.slots, "initialStatus": "hibernating" if one.state == ASLEEP else "active"}
        for one in members if one.state in (WARM, ASLEEP)
    ]
    away = [{"name": one.name, "slots": one.slots} for one in members if one.state == AWAY]
    if rows:
        assert (await provider.register(providers=rows))[0] == 201
    if away:
        assert (await provider.replica.call("POST", f"{BASE}/_provider-register", {"providers": away}))[0] == 201
    for one in members:
        if one.state == PUBLIC:
            one.slots = None
            await put_public_llm(place, one.name)


async def ask_once(place, asker: Asker, members: list[Member]) -> None:
    best = await expected(place, members)
    if best.band == AWAY:
        with pytest.raises(PublisherOffline):
            await asker.ask("pool")
    elif best.band == FULL:
        given = await asker.ask("pool", task="waits")
        assert (given.state, given.place) == ("waiting", 1)
        await asker.cancel("waits")
    elif best.band == ASLEEP:
        awake = await expected(place, members, may_wake=False)
        if awake.band == ASLEEP:
            with pytest.raises(WakeForbidden):
                await asker.ask("pool", may_wake=False)
        elif awake.band == FULL:
            assert (await asker.ask("pool", task="waits", may_wake=False)).state == "waiting"
            await asker.cancel("waits")
        else:
            assert (await asker.ask("pool", may_wake=False)).llm == awake.name
            awake.running.append(asker.held[-1][0])
    else:
        given = await asker.ask("pool")
        assert given.llm == best.name, (given, await order_of(place, "p:pool"))
        best.running.append(asker.held[-1][0])


async def end(asker: Asker, provider: Provider, members: list[Member], which: int) -> None:
    task, llm = asker.held.pop(which)
    member = next(one for one in members if one.name == llm)
    member.running.remove(task)
    await (asker.cancel(task) if member.state == PUBLIC else asker.end(task, provider.session))


async def turn(provider: Provider, members: list[Member], step: str, random) -> None:
    """One falls asleep that runs nothing, or one wakes by itself."""
    of = [m for m in members if m.state == (WARM if step == "sleep" else ASLEEP) and not m.running]
    if not of:
        return
    member = random.choice(of)
    status = "hibernating" if step == "sleep" else "active"
    body = {"providerSessionId": provider.session, "llmName": member.name, "status": status}
    assert (await provider.post("/_provider-status", body))[0] == 200
    member.state = ASLEEP if step == "sleep" else WARM


async def test_a_choice_among_hundreds_finds_the_one_that_is_free(redis_at):
    names = [f"m{number:03}" for number in range(150)]
    async with replica(redis_at) as broker, Provider(broker, *names, model="q", slots=1) as provider:
        asker = Asker(broker)
        chosen = [(await asker.ask("q")).llm for _ in names]
        assert sorted(chosen) == names
        freed = asker.held.pop(77)
        await asker.end(freed[0], provider.session)
        assert (await asker.ask("q")).llm == freed[1]
        await asker.finish_all(provider.session)


async def test_members_whose_heartbeats_ended_unseen_are_passed_over(redis_at):
    timers = {"stale_seconds": 1.5, "sweep_seconds": 1000, "heartbeat_seconds": 1000}
    dead = [f"a{number:02}" for number in range(40)]
    async with replica(redis_at, **timers) as broker, Provider(broker, *dead, model="q") as silent, Provider(broker, "z", model="q") as alive:
        asker = Asker(broker)
        await asker.ask("q")
        await asker.finish_all(silent.session)
        while (await broker.llm("a00"))["status"] == "active":
            await alive.heartbeat()
        assert (await asker.ask("q")).llm == "z"
        assert dict(await redis_at.read("order:m:q"))[b"a39"] == AWAY
        await silent.heartbeat()
        assert dict(await redis_at.read("order:m:q"))[b"a39"] == 0
        assert (await asker.ask("q")).llm == "a00"
        for task, llm in asker.held:
            await asker.end(task, alive.session if llm == "z" else silent.session)


async def test_a_tier_is_asked_before_the_next_and_a_weight_says_how_much_of_the_load(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "big", "small", "spare", slots=6) as provider:
        await make_pool(broker, "pool", {"llm": "spare", "tier": 1}, {"llm": "big", "weight": 2}, {"llm": "small", "weight": 1})
        asker = Asker(broker)
        chosen = [(await asker.ask("pool")).llm for _ in range(9)]
        assert (chosen.count("big"), chosen.count("small"), chosen.count("spare")) == (6, 3, 0)
        chosen = [(await asker.ask("pool")).llm for _ in range(4)]
        assert chosen == ["small"] * 3 + ["spare"]
        await asker.finish_all(provider.session)


async def test_of_members_that_are_as_full_the_quicker_is_chosen(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=4) as provider:
        asker = Asker(broker)
        await asker.ask("q")
        await asker.finish_all(provider.session)
        redis = redis_at.redis()
        for name, ms in (("a", 900), ("b", 300)):
            await redis.hset(f"rv:{{{redis_at.namespace}}}:load:{name}", "avgMs", ms)
        await redis.aclose()
        chosen = [(await asker.ask("q")).llm for _ in range(5)]
        assert chosen == ["b", "b", "a", "b", "b"] or chosen.count("b") >= 3
        await asker.finish_all(provider.session)


async def test_a_full_line_of_a_pool_refuses_with_a_time(redis_at):
    async with replica(redis_at, queue_length=1) as broker, Provider(broker, "a", model="q", slots=1) as provider:
        asker = Asker(broker)
        await asker.ask("q")
        await asker.ask("q", task="waits")
        with pytest.raises(QueueFull) as refused:
            await asker.ask("q")
        assert refused.value.retry_after_s >= 1
        await asker.cancel("waits")
        await asker.finish_all(provider.session)
