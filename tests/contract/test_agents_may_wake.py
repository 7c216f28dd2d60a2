"""Who may wake, of agents: a turn, a call to an agent with tools and one by MCP wake no more than their token may."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from tests.contract.test_may_wake import quiet_token
from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.library import make_project
from tests.support.messages import HELLO, completion
from tests.support.public import HERE
from tests.support.streams import asked
from tests.support.threads import THREADS, make_thread, messages, say
from tests.support.tokens import bearer, tokens
from tests.support.tool_servers import ToolProvider

MCP = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


@asynccontextmanager
async def bot(place):
    """A broker, the publisher of the LLM ``m`` that sleeps, the agents ``bot`` and ``handy``, which has tools; the headers of
    a token that may not wake, and of one that may."""
    async with (
        tokens(place, pub="publisher", ann="client+admin") as given, quiet_token(place) as quiet, replica(place, **HERE) as broker,
        ToolProvider(broker, "home", llms=("m",), token=given.pub, initialStatus="hibernating") as provider,
    ):
        admin = bearer(given.ann)
        await make_project(broker, "house", mcpServers=[{"name": "home", "toolServer": "home"}], headers=admin)
        await make_agent(broker, "bot", "m", headers=admin)
        await make_agent(broker, "any", model="m", headers=admin)
        await make_agent(broker, "handy", "m", project="house", headers=admin)
        yield broker, provider, bearer(quiet), admin


@pytest.mark.parametrize("agent", ["bot", "any", "handy"])
async def test_a_turn_that_would_wake_is_refused_before_anything_is_kept(redis_at, agent):
    async with bot(redis_at) as (broker, provider, quiet, _):
        thread = await make_thread(broker, agent, headers=quiet)
        for stream in (False, True):
            status, body, headers = await say(broker, thread, headers=quiet, stream=stream)
            assert (status, body["error"]["code"], headers["x-should-retry"]) == (403, "wake_forbidden", "false")
        assert await messages(broker, thread, headers=quiet) == []
        assert (await redis_at.read(f"thread:{thread}"))[b"running"] == b""
        assert not await redis_at.read("wake:m") and provider.frames.empty()


async def test_a_turn_goes_on_where_others_woke(redis_at):
    async with bot(redis_at) as (broker, provider, quiet, ann):
        thread = await make_thread(broker, headers=quiet)
        waking = asked(broker.chat("m", headers=ann))
        wake = await provider.next("wake")
        turn = asked(say(broker, thread, headers=quiet))
        await provider.answer(wake, {"ok": True})
        for _ in range(2):
            await provider.answer(await provider.next(), completion(content="hi"))
        assert (await waking)[0] == (await turn)[0] == 200


async def test_a_turn_whose_llm_falls_asleep_between_two_answers_ends_with_the_same_refusal(redis_at):
    async with bot(redis_at) as (broker, provider, quiet, _):
        thread = await make_thread(broker, "handy", headers=quiet)
        await provider.post("/_provider-status", {"providerSessionId": provider.session, "llmName": "m", "status": "active"})
        turn = asked(say(broker, thread, headers=quiet))
        await provider.answer(await provider.next(), {"tools": [{"name": "weather", "inputSchema": {"type": "object"}}]})
        call = {"id": "call_1", "type": "function", "function": {"name": "home__weather", "arguments": "{}"}}
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=[call]))
        tool = await provider.next()
        status, body, _ = await provider.post("/_provider-status", {"providerSessionId": provider.session, "llmName": "m", "status": "hibernating"})
        assert status == 200, body
        await provider.answer(tool, {"content": [{"type": "text", "text": "warm"}]})
        status, body, _ = await turn
        assert (status, body["error"]["code"]) == (403, "wake_forbidden")
        shown = (await broker.call("GET", f"{THREADS}/{thread}", headers=quiet))[1]
        assert shown["running"] is None and not await redis_at.read("wake:m")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_agent_with_tools_as_a_model_wakes_nothing_either(redis_at, stream):
    async with bot(redis_at) as (broker, provider, quiet, _):
        task = asked(broker.chat("agent/handy", headers=quiet, messages=HELLO, stream=stream))
        await provider.answer(await provider.next(), {"tools": []})
        status, body, _ = await task
        assert (status, body["error"]["code"]) == (403, "wake_forbidden")
        assert not await redis_at.read("wake:m") and not await redis_at.read("waiting:m")


@pytest.mark.parametrize("on_thread", [False, True])
async def test_neither_does_a_call_by_mcp(redis_at, on_thread):
    async with bot(redis_at) as (broker, provider, quiet, _):
        more = {"thread": await make_thread(broker, headers=quiet)} if on_thread else {}
        call = {"name": "bot", "arguments": {"message": "hello", **more}}
        status, body, _ = await broker.call(
            "POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}, headers={**MCP, **quiet}
        )
        assert status == 200 and body["result"]["isError"] and "(wake_forbidden)" in body["result"]["content"][0]["text"]
        assert not await redis_at.read("wake:m") and provider.frames.empty()
