"""What pools learn of durable tasks: how their attempts ended counts for and against the member that had them."""

from __future__ import annotations

import pytest

from tests.support.backend import Backend, Script
from tests.support.brokers import replica
from tests.support.jobs import SOON, TASKS, submit, until
from tests.support.pools import fail, health, is_back, let_cool, order_of
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.waiting import eventually

ONCE = {**SOON, "job_attempts": 1}


async def test_attempts_that_fail_take_a_member_out_and_the_one_that_probes_it_brings_it_back(redis_at):
    async with replica(redis_at, **ONCE) as broker, Provider(broker, "a", model="q", slots=9) as provider:
        for number in range(3):
            assert "openUntil" not in await health(redis_at, "a")
            made = await submit(broker, "q")
            await provider.answer(await provider.next(), status=503 if number else 429)
            await until(broker, made["id"], "dead")
        assert (await health(redis_at, "a"))["coolMs"] == "1000"
        waiting = [await submit(broker, "q") for _ in range(2)]
        # One is the probe; a task waits for that rather than asking a member that is broken.
        await let_cool(redis_at, "a")
        probe = await provider.next()
        assert (await health(redis_at, "a"))["probe"] == probe["taskId"] and provider.frames.empty()
        await provider.answer(probe)
        await provider.answer(await provider.next())
        for made in waiting:
            await until(broker, made["id"], "done")
        assert await is_back(redis_at, "a") and await order_of(redis_at, "m:q") == ["a"]


@pytest.mark.parametrize("end", ["refused", "cancelled", "lost"])
async def test_what_is_not_its_fault_does_not_count(redis_at, end):
    async with replica(redis_at, **ONCE, reconnect_grace_seconds=0) as broker, Provider(broker, "a", model="q", slots=9) as provider:
        made = await submit(broker, "q")
        frame = await provider.next()
        if end == "refused":
            await provider.answer(frame, status=400)
        elif end == "cancelled":
            await broker.call("DELETE", f"{TASKS}/{made['id']}")
            await provider.fail(await provider.next("cancel"), "stopped")
        else:
            await provider.close()
        await until(broker, made["id"], "failed", "cancelled", "dead")
        assert not await health(redis_at, "a")


@pytest.mark.parametrize("how", ["stalled", "unreachable"])
async def test_silence_and_a_backend_that_is_not_there_count(redis_at, how):
    async with replica(redis_at, **ONCE, idle_seconds=0.2) as broker, Provider(broker, "a", model="q", slots=9) as provider:
        made = await submit(broker, "q", request={"stream": True})
        frame = await provider.next()
        if how == "stalled":
            await provider.chunk(frame, "{}")
        else:
            await provider.fail(frame, "connection refused", "backend_unreachable")
        await until(broker, made["id"], "dead")
        assert int((await health(redis_at, "a"))["last"]) > 0
        if how == "stalled":
            await provider.fail(frame, "stopped")


async def test_answers_in_between_do_not_undo_failures_nor_those_that_were_asked_for_before(redis_at):
    async with replica(redis_at, **ONCE) as broker, Provider(broker, "a", model="q", slots=9) as provider:
        early = await submit(broker, "q")
        frame = await provider.next()
        await fail(broker, "a", 2)
        between = await submit(broker, "q")
        await provider.answer(await provider.next())
        await until(broker, between["id"], "done")
        await fail(broker, "a")
        assert "openUntil" in await health(redis_at, "a")
        # It was asked when all was well, a cool-down ago.
        redis = redis_at.redis()
        key = f"rv:{{{redis_at.namespace}}}:job:{early['id']}"
        await redis.hset(key, "x", f"{frame['taskId']}\t1")
        await redis.aclose()
        await provider.answer(frame)
        await until(broker, early["id"], "done")
        assert "openUntil" in await health(redis_at, "a")


async def test_tasks_that_wait_while_all_are_broken_do_so_in_their_queue(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", "b", model="q", slots=1) as provider:
        first = await submit(broker, "q")
        await provider.answer(await provider.next())
        await until(broker, first["id"], "done")
        for llm in ("a", "b"):
            await fail(broker, llm, 3)
        made = await submit(broker, "q")

        async def looked_at() -> bool:
            return (await redis_at.read("queues") or [(b"", 0)])[0][1] > 0

        await eventually(looked_at)
        assert not await redis_at.read("waiting:\1m:q") and provider.frames.empty()
        await let_cool(redis_at, "b")
        frame = await provider.next()
        assert frame["llmName"] == "b"
        await provider.answer(frame)
        await until(broker, made["id"], "done")


async def test_how_long_a_public_members_answers_took_is_known_of_tasks_too(redis_at):
    async with replica(redis_at, **HERE, **ONCE) as broker, Backend(Script(delay_s=0.05)) as upstream:
        await make_llm(broker, "gpt", upstream.url, model="q")
        made = await submit(broker, "q")
        await until(broker, made["id"], "done")
        assert int((await redis_at.read("load:gpt"))[b"avgMs"]) >= 40
        upstream.script.status = 500
        made = await submit(broker, "q")
        await until(broker, made["id"], "dead")
        assert int((await health(redis_at, "gpt"))["last"]) > 0


async def test_an_attempt_that_waited_in_a_pools_line_leaves_no_explanation_behind(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="q", slots=1) as provider:
        jobs = [await submit(broker, "q") for _ in range(2)]
        first = await provider.next()

        async def waits() -> bool:
            return bool(await redis_at.read("waiting:\1m:q"))

        await eventually(waits)
        await provider.answer(first)
        await provider.answer(await provider.next())
        for made in jobs:
            assert [one["llm"] for one in (await until(broker, made["id"], "done"))["attempts"]] == ["a"]
        assert not [key for key in await redis_at.keys() if key.startswith(b"explain:")]
