"""Durable tasks that nobody is there to do: each ends, though late, with a reason that names what was missing."""

from __future__ import annotations

import pytest

from tests.contract.test_may_wake import quiet_token
from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.jobs import SOON, TASKS, check_kept_in_order, submit, task, until
from tests.support.pools import fail, let_cool, make_pool, use
from tests.support.provider import BASE, Provider
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

IMPATIENT = {**SOON, "job_orphan_seconds": 0.3}


@pytest.mark.parametrize("target", ["m", "q", "p", "nick", "agent/one", "agent/any"])
async def test_a_task_whose_target_is_deleted_is_dead_with_a_reason_that_names_it(redis_at, target):
    async with replica(redis_at, **IMPATIENT) as broker, Provider(broker, "m", model="q", aliases=["nick"], connect=False):
        await make_pool(broker, "p", "m")
        await make_agent(broker, "any", model="q")
        if target == "agent/one":
            await make_agent(broker, "one", "m")
        made = await submit(broker, target)
        if target == "agent/one":
            await broker.call("DELETE", "/api/v1/agents/one")
        assert (await broker.call("DELETE", f"{BASE}/m"))[0] == 204
        dead = await until(broker, made["id"], "dead")
        assert dead["error"]["code"] == "target_gone" and f"'{target}'" in dead["error"]["message"] and dead["attempts"] == []
        await check_kept_in_order(redis_at)
        assert not await redis_at.read("queues") and not await redis_at.read(f"queue-tags:{target}")


async def test_so_is_one_whose_publisher_stays_away_however_many_wait(redis_at):
    async with replica(redis_at, **IMPATIENT) as broker, Provider(broker, "m", connect=False):
        jobs = [(await submit(broker, "m"))["id"] for _ in range(70)]
        for one in (jobs[0], jobs[-1]):
            dead = await until(broker, one, "dead")
            assert dead["error"]["code"] == "publisher_offline" and "'m' was away" in dead["error"]["message"]
        await check_kept_in_order(redis_at)


@pytest.mark.parametrize("target", ["m", "q"])
async def test_and_one_that_may_not_wake_who_sleeps(redis_at, target):
    async with tokens(redis_at, pub="publisher") as given, quiet_token(redis_at) as quiet, replica(redis_at, **IMPATIENT) as broker:
        async with Provider(broker, "m", token=given.pub, model="q", initialStatus="hibernating") as provider:
            made = await submit(broker, target, headers=bearer(quiet))

            async def dead() -> dict | None:
                found = await task(broker, made["id"], bearer(quiet))
                return found if found["state"] == "dead" else None

            assert (await eventually(dead))["error"]["code"] == "wake_forbidden" and provider.frames.empty()


async def test_who_comes_back_in_time_is_asked_and_the_time_begins_anew(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", connect=False) as provider:
        jobs = [await submit(broker, "m") for _ in range(2)]
        await eventually(lambda: clock(redis_at))
        await provider.open()
        frame = await provider.next()
        assert not await clock(redis_at)
        await provider.answer(frame)
        await provider.answer(await provider.next())
        for made in jobs:
            await until(broker, made["id"], "done")


async def test_the_time_is_the_tasks_own_as_well_and_brokers_that_were_away_wait_first(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", connect=False):
        old, young = [await submit(broker, "m") for _ in range(2)]
        await eventually(lambda: clock(redis_at))
        await put(redis_at, "queue-tags:m", "\2", "1")
        await made_long_ago(redis_at, old["id"])
        await looked_at(redis_at)
        assert (await task(broker, old["id"]))["state"] == "queued"
        await put(redis_at, "pulse", "since", "1")
        assert (await until(broker, old["id"], "dead"))["error"]["code"] == "publisher_offline"
        await looked_at(redis_at)
        assert (await task(broker, young["id"]))["state"] == "queued"
        # Tried anew it has all the time again.
        assert (await broker.call("POST", f"{TASKS}/{old['id']}/retry"))[0] == 202
        await looked_at(redis_at)
        assert (await task(broker, old["id"]))["state"] == "queued" and int(await clock(redis_at)) > 1


async def test_who_is_broken_is_there(redis_at):
    async with replica(redis_at, **IMPATIENT) as broker, Provider(broker, "a", model="q") as provider:
        await use(broker, provider)
        await fail(broker, "a", 3)
        await let_cool(redis_at, "a", 9 * 10**12)
        made = await submit(broker, "q")
        for _ in range(3):
            await looked_at(redis_at)
        assert not await redis_at.read("queue-tags:q") or b"\2" not in await redis_at.read("queue-tags:q")
        await let_cool(redis_at, "a")
        await provider.answer(await provider.next())
        await until(broker, made["id"], "done")


async def clock(place) -> bytes | None:
    return (await place.read("queue-tags:m") or {}).get(b"\2")


async def put(place, key: str, field: str, value: str) -> None:
    redis = place.redis()
    await redis.hset(f"rv:{{{place.namespace}}}:{key}", field, value)
    await redis.aclose()


async def made_long_ago(place, job: str) -> None:
    text = (await place.read(f"job:{job}"))[b"m"].decode()
    await put(place, f"job:{job}", "m", "1\n" + text.partition("\n")[2])


async def looked_at(place) -> None:
    """The queue was looked at twice from now on."""
    for _ in range(2):
        before = (await place.read("queues"))[0][1]

        async def again() -> bool:
            return (await place.read("queues"))[0][1] > before

        await eventually(again)
