"""Chat with real processes: brokers that are killed and stopped in mid-turn, and threads that go on."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from tests.support.agents import make_agent
from tests.support.backend_seen import until_seen
from tests.support.processes import Stage, client
from tests.support.threads import cancel, following, make_thread, messages, said, say, telling, turn
from tests.support.waiting import BUSY_S

SLOW = {"script": {"tokens": 40, "delay_s": 0.05}}


async def system(stage: Stage, brokers: int = 1, **settings) -> list:
    """[brokers …, publisher, backend], with the LLM ``m`` published at the last broker."""
    made = await asyncio.gather(*(stage.broker(**settings).ready() for _ in range(brokers)))
    backend = await stage.backend().ready()
    publisher = await stage.publisher(made[-1].url, {"name": "m", "url": backend.url, "slots": 4}).ready()
    return [*made, publisher, backend]


async def test_a_conversation_is_kept_and_streamed(stage):
    broker, _, backend = await system(stage)
    async with client(broker.url) as api:
        await make_agent(api, "bot", "m", systemPrompt="be kind")
        thread = await make_thread(api)
        status, body, _ = await say(api, thread, "one")
        assert status == 200 and body["message"]["content"] == "tök€n0 tök€n1 tök€n2 "
        async with telling(api, thread, "two") as stream:
            found = await stream.rest(10)
        assert [event.name for event in found] == ["text", "text", "text", "final"]
        assert [one["turnIndex"] for one in await messages(api, thread)] == [1, 1, 2, 2]
        await until_seen(backend, lambda one: one["finished"] and '"two"' in one["body"] and '"one"' in one["body"], 5)


@pytest.mark.limit_s(90)
async def test_a_broker_killed_in_mid_turn_costs_the_turn_and_not_the_thread(stage):
    dying, broker, _, backend = await system(stage, 2)
    async with client(dying.url) as gone, client(broker.url) as api:
        await make_agent(api, "bot", "m")
        thread = await make_thread(api)
        async with telling(gone, thread, params=SLOW) as live, following(api, thread) as stream:
            assert await live.texts(3) == await stream.texts(3)
            dying.kill()
            killed_at = time.monotonic()
            with pytest.raises(aiohttp.ClientError):
                await live.rest()
            last = (await stream.rest(10))[-1]
            assert last.data["error"]["code"] == "replica_lost" and time.monotonic() - killed_at < 5
        assert (await turn(api, thread))["status"] == "error"
        await until_seen(backend, lambda one: one["aborted"], 5)
        status, body, _ = await say(api, thread, "again")
        assert status == 200, body
        assert said(await messages(api, thread)) == [
            (1, "user", "hello", "error"), (2, "user", "again", "complete"), (2, "assistant", body["message"]["content"], "complete"),
        ]


@pytest.mark.limit_s(90)
async def test_sigterm_lets_a_turn_end(stage):
    leaving, broker, _, _ = await system(stage, 2)
    async with client(leaving.url) as gone, client(broker.url) as api:
        await make_agent(api, "bot", "m")
        thread = await make_thread(api)
        async with telling(gone, thread, params={"script": {"tokens": 20, "delay_s": 0.05}}) as live:
            await live.texts(2)
            leaving.terminate()
            found = await live.rest(10)
        assert found[-1].name == "final"
        assert await leaving.ended() == 0
        assert (await turn(api, thread))["status"] == "complete"
        assert (await say(api, thread, "again"))[0] == 200


@pytest.mark.limit_s(90)
async def test_sigterm_ends_a_turn_that_takes_too_long_and_keeps_what_was_said(stage):
    leaving, broker, _, _ = await system(stage, 2, shutdown_seconds=0.5)
    async with client(leaving.url) as gone, client(broker.url) as api:
        await make_agent(api, "bot", "m")
        thread = await make_thread(api)
        async with telling(gone, thread, params={"script": {"hang": "stream"}}) as live:
            texts = await live.texts(3)
            leaving.terminate()
            (error,) = await live.rest(10)
        assert error.data["error"]["code"] == "broker_stopped"
        assert await leaving.ended() == 0
        assert [(one["content"], one["status"]) for one in await messages(api, thread)] == [("hello", "error"), ("".join(texts), "error")]
        assert (await say(api, thread, "again"))[0] == 200


async def test_a_cancel_at_another_broker_stops_the_backend(stage):
    one, two, _, backend = await system(stage, 2, tick_seconds=0.5)
    async with client(one.url) as api_1, client(two.url) as api_2:
        await make_agent(api_1, "bot", "m")
        thread = await make_thread(api_1)
        async with telling(api_1, thread, params={"script": {"hang": "stream"}}) as live:
            await live.texts(3)
            asked_at = time.monotonic()
            assert await cancel(api_2, thread) == 204
            (error,) = await live.rest()
            assert error.data["error"]["code"] == "cancelled" and time.monotonic() - asked_at < 1 + BUSY_S
        await until_seen(backend, lambda one: one["aborted"], 5)
