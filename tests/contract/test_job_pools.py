"""Durable tasks that ask a pool: another member where one can answer, and never a wait for one that cannot."""

from __future__ import annotations

import pytest

from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.jobs import SOON, submit, task, until
from tests.support.pools import fail, is_back, let_cool, make_pool
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.tokens import bearer
from tests.support.waiting import eventually


async def waiting(place) -> int:
    return len(await place.read("waiting:\1m:q") or ())


async def break_down(broker, llm: str) -> None:
    """That member has failed so often that its pool leaves it out for some seconds."""
    await fail(broker, llm, 3)


@pytest.mark.parametrize("other", ["away", "broken"])
async def test_a_member_that_failed_is_asked_again_while_no_other_can_answer(redis_at, other):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="q") as one:
        async with Provider(broker, "b", model="q") as two:
            if other == "away":
                await two.close()
                await broker.until_status("b", "inactive")
            else:
                await break_down(broker, "b")
            made = await submit(broker, "q")
            await one.fail(await one.next(), "no")
            await one.answer(await one.next())
            done = await until(broker, made["id"], "done")
            assert [attempt["llm"] for attempt in done["attempts"]] == ["a", "a"]


async def test_where_all_are_broken_a_task_is_the_probe_when_one_may_be_tried(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="q") as provider:
        await break_down(broker, "a")
        made = await submit(broker, "q")

        async def looked_at() -> bool:
            return (await redis_at.read("queues"))[0][1] > 0

        await eventually(looked_at)
        assert not await waiting(redis_at)
        await let_cool(redis_at, "a")
        await provider.answer(await provider.next())
        await until(broker, made["id"], "done")
        assert await is_back(redis_at, "a")


async def test_an_agents_task_may_be_the_probe_too(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="q") as provider:
        await make_agent(broker, "bot", None, model="q", systemPrompt="be kind")
        await break_down(broker, "a")
        made = await submit(broker, None, agent="bot")
        await let_cool(redis_at, "a")
        await provider.answer(await provider.next())
        await until(broker, made["id"], "done")


async def test_one_that_waits_for_a_member_that_breaks_down_goes_to_the_one_that_failed_it(redis_at):
    async with replica(redis_at, idle_seconds=0.2, **SOON) as broker, Provider(broker, "a", model="q", slots=1) as one:
        async with Provider(broker, "b", model="q", slots=1) as two:
            chat = asked(broker.chat("b"))
            busy = await two.next()
            made = await submit(broker, "q")
            await one.fail(await one.next(), "no")
            await eventually(lambda: waiting(redis_at))
            await break_down(broker, "b")
            await two.answer(busy)
            await chat
            await one.answer(await one.next())
            done = await until(broker, made["id"], "done")
            assert [attempt["llm"] for attempt in done["attempts"]] == ["a", "a"]


async def test_one_that_may_not_wake_stands_in_line_for_those_that_are_awake(redis_at):
    store = redis_at.open_store(redis_at.settings())
    made_tokens = [await store.tokens.create(name="a", roles=["client", "publisher"], owner="a", may_wake=wake) for wake in (False, True)]
    quiet, loud = (bearer(token) for _, token in made_tokens)
    try:
        async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="q", slots=1, token=made_tokens[1][1]) as one:
            async with Provider(broker, "b", model="q", initialStatus="hibernating", token=made_tokens[1][1]) as two:
                chat = asked(broker.chat("a", headers=loud))
                busy = await one.next()
                made = await submit(broker, "q", headers=quiet)
                await eventually(lambda: waiting(redis_at))
                assert two.frames.empty()
                await one.answer(busy)
                await chat
                await one.answer(await one.next())

                async def done() -> bool:
                    return (await task(broker, made["id"], quiet))["state"] == "done"

                await eventually(done)
    finally:
        for token_id, _ in made_tokens:
            await store.tokens.revoke(token_id)
        await store.close()


async def test_a_pool_that_is_deleted_leaves_its_tasks_waiting_for_another_of_that_name(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", slots=1) as provider:
        await make_pool(broker, "p", "a")
        chat = asked(broker.chat("a"))
        busy = await provider.next()
        jobs = [await submit(broker, "p") for _ in range(2)]

        async def waits() -> bool:
            return bool(await redis_at.read("waiting:\1p:p"))

        await eventually(waits)
        await broker.call("DELETE", "/api/v1/pools/p")
        await provider.answer(busy)
        await chat
        assert [(await task(broker, made["id"]))["state"] for made in jobs] == ["queued", "queued"]
        await make_pool(broker, "p", "a")
        for _ in jobs:
            await provider.answer(await provider.next())
        for made in jobs:
            assert len((await until(broker, made["id"], "done"))["attempts"]) == 1
