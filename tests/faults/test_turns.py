"""Turns while Redis dies, stalls or is away for long: no client waits for ever, no thread stays closed, no event comes twice."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.agents import make_agent
from tests.support.public import make_llm
from tests.support.threads import following, make_thread, say, telling, thread_of, turn

SLOW = {"script": {"tokens": 40, "delay_s": 0.05}}


async def goes_on(s, thread: str, within_s: float) -> None:
    until = time.monotonic() + within_s
    while True:
        status, body, headers = await say(s.api, thread, "again")
        if status == 200:
            return
        assert status in (409, 503), body
        assert time.monotonic() < until, body
        await asyncio.sleep(0.1)


async def kept_events(s, thread: str) -> list:
    async with following(s.api, thread) as stream:
        return await stream.rest()


@pytest.mark.limit_s(90)
@pytest.mark.parametrize("accident", ["restart", "stall"])
async def test_a_turn_outlives_an_accident_of_redis_or_says_that_it_did_not(system, accident):
    async with system() as s:
        await make_agent(s.api, "bot", "m")
        thread = await make_thread(s.api)
        async with telling(s.api, thread, params=SLOW) as live:
            await live.texts(3)
            if accident == "restart":
                await asyncio.to_thread(s.redis.restart)
            else:
                s.redis.stop()
                await asyncio.sleep(1)  # the stall itself
                s.redis.cont()
            found = await live.rest(20)
        assert found[-1].name in ("final", "error")
        events = await kept_events(s, thread)
        assert [event.id for event in events] == list(range(1, len(events) + 1)) and events[-1].name == found[-1].name
        assert (await turn(s.api, thread))["status"] == ("complete" if found[-1].name == "final" else "error")
        await goes_on(s, thread, 10)


@pytest.mark.limit_s(90)
async def test_a_turn_whose_end_cannot_be_kept_is_an_error_for_its_client_and_then_for_its_thread(system):
    async with system() as s:
        await make_agent(s.api, "bot", "m")
        thread = await make_thread(s.api)
        async with telling(s.api, thread, params=SLOW, headers={"X-Deadline-Seconds": "2"}) as live:
            await live.texts(3)
            s.redis.kill()
            found = await live.rest(30)
        assert found[-1].name == "error" and found[-1].data["error"]["status"] in (503, 504)
        await asyncio.to_thread(s.redis.start)
        until = time.monotonic() + 10
        while (await s.api.call("GET", f"/api/v1/threads/{thread}"))[0] != 200 or (await thread_of(s.api, thread))["running"]:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
        assert (await turn(s.api, thread))["status"] == "error"
        await goes_on(s, thread, 10)


async def test_a_turn_of_a_public_llm_goes_on_while_redis_is_away(system):
    async with system(upstream_allow="127.0.0.0/8") as s:
        await make_llm(s.api, "gpt", s.backend.url)
        await make_agent(s.api, "bot", "gpt")
        thread = await make_thread(s.api)
        async with telling(s.api, thread, params=SLOW) as live:
            await live.texts(3)
            await asyncio.to_thread(s.redis.kill)
            await live.texts(20)
            await asyncio.to_thread(s.redis.start)
            found = await live.rest(20)
        assert found[-1].name == "final" and found[-1].id == 41
        assert [event.id for event in await kept_events(s, thread)] == list(range(1, 42))
        assert (await turn(s.api, thread))["status"] == "complete"
