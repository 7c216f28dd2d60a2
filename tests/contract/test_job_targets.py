"""Whom a durable task may ask: LLMs near and far, awake and asleep, aliases and models, agents."""

from __future__ import annotations

import asyncio
import json

from tests.support.agents import make_agent
from tests.support.backend import Backend, Script
from tests.support.brokers import replica
from tests.support.jobs import SOON, TASKS, check_kept_in_order, events, result, states, submit, task, until
from tests.support.pools import is_back
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens
from tests.support.tool_servers import ToolProvider
from tests.support.waiting import eventually


async def test_a_public_llm_is_called_by_a_replica_and_its_answer_kept(redis_at):
    async with replica(redis_at, **HERE, **SOON) as broker, replica(redis_at, **HERE, **SOON) as other:
        async with Backend(Script(tokens=2)) as upstream:
            await make_llm(broker, "gpt", upstream.url, key="sk-1")
            whole = await submit(broker, "gpt")
            streamed = await submit(other, "gpt", request={"stream": True})
            await until(other, whole["id"], "done")
            await until(broker, streamed["id"], "done")
            assert "tök€n1" in json.loads((await result(broker, whole["id"]))[1])["choices"][0]["message"]["content"]
            assert (await result(other, streamed["id"]))[1].endswith(b"data: [DONE]\n\n")
            heard = await events(other, streamed["id"])
            assert states(heard) == ["queued", "running", "done"] and len(heard) == 6
            assert {seen.headers["Authorization"] for seen in upstream.seen} == {"Bearer sk-1"}
            await eventually(lambda: _free(redis_at, "gpt"))


async def _free(place, llm: str) -> bool:
    return not await place.read(f"leases:{llm}")


async def test_a_public_llm_is_asked_by_no_more_tasks_at_once_than_it_may(redis_at):
    async with replica(redis_at, job_upstream_calls=2, **HERE, **SOON) as broker, Backend(Script(delay_s=0.05)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        jobs = [await submit(broker, "gpt") for _ in range(6)]
        for made in jobs:
            await until(broker, made["id"], "done")
        assert upstream.most_at_once == 2 and len(upstream.seen) == 6


async def test_tasks_wait_while_a_replica_makes_as_many_calls_as_it_may(redis_at):
    async with replica(redis_at, upstream_requests=1, **HERE, **SOON) as broker, Backend(Script(delay_s=0.05)) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        jobs = [await submit(broker, "gpt") for _ in range(4)]
        for made in jobs:
            done = await until(broker, made["id"], "done")
            assert len(done["attempts"]) == 1
        assert upstream.most_at_once == 1


async def test_a_call_of_a_replica_that_dies_is_made_by_another(redis_at):
    settings = {**HERE, **SOON, "replica_ttl_seconds": 0.3}
    async with replica(redis_at, **settings) as one, Backend(Script(hang="head")) as upstream:
        await make_llm(one, "gpt", upstream.url)
        made = await submit(one, "gpt")
        await upstream.until(lambda: len(upstream.seen) == 1)
        async with replica(redis_at, **settings) as two:
            upstream.script.hang = ""
            await one.die()
            done = await until(two, made["id"], "done")
            assert [attempt["code"] for attempt in done["attempts"]] == ["broker_lost", None]
            assert len(upstream.seen) == 2
            await check_kept_in_order(redis_at)


async def test_a_call_that_a_replica_was_given_but_did_not_hear_of_is_given_back(redis_at):
    async with replica(redis_at, **HERE, **SOON) as broker, Backend() as upstream:
        await make_llm(broker, "gpt", upstream.url)
        claimer, claims = broker.broker.durable._claimer, broker.broker.store.claims
        claimer.stop()
        made = await submit(broker, "gpt")
        claimed = await claims.claim(5, calls=5)
        assert [one.task for one in claimed.called] == [f"{made['id']}.1"]
        assert await claims.held() == {f"{made['id']}.1"}
        claimer._unsure, claimer._stopped = True, False
        claimer.nudge()
        done = await until(broker, made["id"], "done")
        assert [attempt["code"] for attempt in done["attempts"]] == ["broker_lost", None]


async def test_a_cancelled_call_to_an_upstream_is_hung_up(redis_at):
    async with replica(redis_at, **HERE, **SOON) as broker, Backend(Script(hang="stream")) as upstream:
        await make_llm(broker, "gpt", upstream.url)
        made = await submit(broker, "gpt", request={"stream": True})
        await upstream.until(lambda: len(upstream.seen) == 1)
        await broker.call("DELETE", f"{TASKS}/{made['id']}")
        await upstream.until(lambda: upstream.seen[0].aborted)
        assert (await task(broker, made["id"]))["state"] == "cancelled"
        await eventually(lambda: _free(redis_at, "gpt"))


async def test_an_llm_that_sleeps_is_woken_once_for_all_tasks(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", initialStatus="hibernating", slots=2) as provider:
        jobs = [await submit(broker) for _ in range(4)]
        wake = await provider.next("wake")
        assert (await task(broker, jobs[0]["id"]))["state"] == "queued"
        await provider.answer(wake, {"ok": True})
        for _ in range(4):
            await provider.answer(await provider.next())
        for made in jobs:
            await until(broker, made["id"], "done")


async def test_a_wake_that_fails_is_an_attempt_and_the_queue_rests(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", initialStatus="hibernating") as provider:
        made = await submit(broker)
        for _ in range(3):
            await provider.fail(await provider.next("wake"), "no current")
        dead = await until(broker, made["id"], "dead")
        assert dead["error"]["code"] == "wake_failed" and len(dead["attempts"]) == 3
        await check_kept_in_order(redis_at)


async def test_the_tasks_of_a_token_that_may_not_wake_wait_until_somebody_else_does(redis_at):
    store = redis_at.open_store(redis_at.settings())
    made_tokens = [await store.tokens.create(name="a", roles=["client", "publisher"], owner="a", may_wake=wake) for wake in (False, True)]
    try:
        async with replica(redis_at, **SOON) as broker:
            async with Provider(broker, "m", initialStatus="hibernating", token=made_tokens[1][1]) as provider:
                made = await submit(broker, headers=bearer(made_tokens[0][1]))

                async def looked_at() -> bool:
                    return (await redis_at.read("queues"))[0][1] > 0

                await eventually(looked_at)
                assert provider.frames.empty()
                chat = asked(broker.chat("m", headers=bearer(made_tokens[1][1])))
                await provider.answer(await provider.next("wake"), {"ok": True})
                await provider.answer(await provider.next())
                await provider.answer(await provider.next())
                assert (await chat)[0] == 200

                async def done() -> bool:
                    return (await task(broker, made["id"], bearer(made_tokens[1][1])))["state"] == "done"

                await eventually(done)
    finally:
        for token_id, _ in made_tokens:
            await store.tokens.revoke(token_id)
        await store.close()


async def test_an_alias_and_a_model_are_served_by_whoever_is_free(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="qwen", aliases=["fast"]) as one:
        async with Provider(broker, "b", model="qwen", aliases=["fast"]) as two:
            jobs = [await submit(broker, name) for name in ("qwen", "qwen", "fast", "fast")]
            for _ in range(2):
                frames = [await one.next(), await two.next()]
                assert [frame["llmName"] for frame in frames] == ["a", "b"]
                await one.answer(frames[0])
                await two.answer(frames[1])
            for made in jobs:
                done = await until(broker, made["id"], "done")
                assert done["attempts"][0]["llm"] in ("a", "b")


async def test_another_attempt_goes_to_another_member(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="qwen") as one, Provider(broker, "b", model="qwen") as two:
        made = await submit(broker, "qwen")
        first = asyncio.ensure_future(one.next())
        second = asyncio.ensure_future(two.next())
        done, _ = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED, timeout=5)
        failing, waiting, other = (one, second, two) if first in done else (two, first, one)
        await failing.fail(done.pop().result(), "no")
        await other.answer(await waiting)
        found = await until(broker, made["id"], "done")
        assert len({attempt["llm"] for attempt in found["attempts"]}) == 2


async def test_a_sleeping_pool_is_woken(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="qwen", initialStatus="hibernating") as provider:
        made = await submit(broker, "qwen")
        await provider.answer(await provider.next("wake"), {"ok": True})
        frame = await provider.next()
        assert frame["llmName"] == "a"
        await provider.answer(frame)
        await until(broker, made["id"], "done")


async def test_an_agent_answers_as_it_is_at_the_attempt(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", connect=False) as provider:
        await make_agent(broker, "bot", "m", systemPrompt="be kind", defaultParams={"top_p": 0.5})
        made = await submit(broker, None, agent="bot", request={"messages": [{"role": "user", "content": "hi"}]})
        assert made["model"] == "agent/bot"
        await broker.call("PATCH", "/api/v1/agents/bot", {"systemPrompt": "be quick"})
        await provider.open()
        frame = await provider.next()
        assert frame["request"]["messages"][0] == {"role": "system", "content": "be quick"} and frame["request"]["top_p"] == 0.5
        await provider.answer(frame, {"n": 1})
        done = await until(broker, made["id"], "done")
        assert (done["agent"], done["attempts"][0]["llm"]) == ("bot", "m")


async def test_an_agent_that_names_a_model_is_answered_by_whoever_has_it(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="qwen", slots=1) as provider:
        await make_agent(broker, "bot", None, model="qwen", systemPrompt="be kind")
        made = await submit(broker, "agent/bot", request={"messages": [{"role": "user", "content": "hi"}]})
        frame = await provider.next()
        assert frame["llmName"] == "a" and frame["request"]["messages"][0]["content"] == "be kind"
        await provider.answer(frame)
        done = await until(broker, made["id"], "done")
        assert [one["llm"] for one in done["attempts"]] == ["a"]


async def test_an_unknown_target_is_told_with_names_near_it(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "qwen3-coder"):
        status, body, _ = await broker.call("POST", TASKS, {"model": "qwen-coder", "request": {}})
        assert status == 404 and "'qwen3-coder'" in body["error"]["message"]


async def test_an_answer_puts_a_member_back_that_its_pool_left_out(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", model="qwen") as provider:
        redis = redis_at.redis()
        await redis.hset(f"rv:{{{redis_at.namespace}}}:health:a", mapping={"openUntil": 1, "coolMs": 1000})
        await redis.expire(f"rv:{{{redis_at.namespace}}}:health:a", 600)
        await redis.aclose()
        made = await submit(broker, "qwen")
        await provider.answer(await provider.next())
        await until(broker, made["id"], "done")
        assert await is_back(redis_at, "a")


async def test_a_request_that_an_agent_cannot_make_fails_with_the_reason(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m"):
        await make_agent(broker, "bot", "m", systemPrompt="be kind")
        made = await submit(broker, None, agent="bot", request={"messages": "hi"})
        failed = await until(broker, made["id"], "failed")
        assert failed["error"]["code"] == "invalid_request" and "messages" in failed["error"]["message"]
        assert failed["attempts"] == []
        await check_kept_in_order(redis_at)


async def test_a_task_has_its_turn_though_somebody_always_waits(redis_at):
    async with (
        tokens(redis_at, alice="client", bob="client", pub="publisher") as t, replica(redis_at, **SOON) as broker,
        Provider(broker, "m", slots=1, token=t.pub) as provider,
    ):
        chats = [asked(broker.chat("m", number=number, headers=bearer(t.alice))) for number in range(60)]
        frame = await provider.next()

        async def waits() -> bool:
            return len(await redis_at.read("waiting:m") or ()) == 59

        await eventually(waits)
        await submit(broker, request={"number": 1000}, priority="normal", headers=bearer(t.bob))

        async def joined() -> bool:
            return len(await redis_at.read("waiting:m") or ()) == 60

        await eventually(joined)
        order = []
        while len(order) < 61:
            order.append(frame["request"]["number"])
            await provider.answer(frame)
            if len(order) < 61:
                frame = await provider.next()
        # A head start of 50 is all that requests have before it.
        assert 45 <= order.index(1000) <= 55
        await asyncio.gather(*chats)


async def test_owners_take_turns_at_an_agent_too(redis_at):
    async with (
        tokens(redis_at, alice="client", bob="client", pub="publisher") as t, replica(redis_at, **SOON) as broker,
        Provider(broker, "m", slots=1, token=t.pub, connect=False) as provider,
    ):
        await broker.call("POST", "/api/v1/agents", {"name": "bot", "llm": "m", "systemPrompt": "x"}, headers=bearer(t.alice))
        for number in range(12):
            await submit(broker, None, agent="bot", request={"who": f"alice {number}"}, headers=bearer(t.alice))
        await provider.open()
        frame = await provider.next()
        await submit(broker, None, agent="bot", request={"who": "bob"}, headers=bearer(t.bob))
        order = []
        for number in range(13):
            order.append(frame["request"]["who"])
            await provider.answer(frame)
            if number < 12:
                frame = await provider.next()
        # One is asked, one waits in the line of requests, and one may be on its way there since before bob came.
        assert order.index("bob") <= 4
        assert [who for who in order if who != "bob"] == [f"alice {number}" for number in range(12)]


async def test_a_publishers_tool_server_is_no_target(redis_real):
    async with replica(redis_real, **SOON) as broker, ToolProvider(broker, "files") as provider:
        for named in ("llm", "model"):
            status, body, _ = await broker.call("POST", TASKS, {named: "_tools/files", "request": {"method": "tools/list"}})
            assert (status, body["error"]["code"]) == (404, "model_not_found")
        assert provider.frames.empty()


async def test_an_agent_that_is_asked_for_more_than_a_chat_fails_with_the_reason(redis_real):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m", defaultParams={"top_p": 0.5})
        made = await submit(broker, "agent/bot", operation="embeddings", request={"input": "x"})
        failed = await until(broker, made["id"], "failed")
        assert failed["error"]["code"] == "invalid_request" and "only chats" in failed["error"]["message"]
        assert provider.frames.empty()


async def test_a_replica_that_is_slow_with_an_agents_request_finds_it_begun_or_cancelled(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", slots=9) as provider:
        await make_agent(broker, "bot", "m", systemPrompt="be kind")
        broker.broker.durable.stop()
        store = redis_at.open_store(broker.broker.settings)
        begun, cancelled = [await submit(broker, None, agent="bot") for _ in range(2)]
        claimed = await store.claims.claim(5, calls=5)
        assert [one.job for one in claimed.asked] == [begun["id"], cancelled["id"]]
        await broker.call("DELETE", f"{TASKS}/{cancelled['id']}")
        redis = redis_at.redis()
        await redis.zadd(f"rv:{{{redis_at.namespace}}}:job-timers", {f"r:{begun['id']}": 1})
        await redis.aclose()

        async def again() -> bool:
            return bool((await store.claims.claim(5, calls=5)).asked)

        await eventually(again)
        for one in (*claimed.asked, *claimed.asked):
            assert await store.claims.start(one.job, "m", "", b"{}") is None
        await provider.answer(await provider.next())
        await until(broker, begun["id"], "done")
        assert (await task(broker, cancelled["id"]))["state"] == "cancelled" and provider.frames.empty()
        await check_kept_in_order(redis_at)
        await store.close()
