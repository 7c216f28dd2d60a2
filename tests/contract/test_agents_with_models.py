"""Agents may name a model instead of one LLM, publishers' too: any live LLM with it answers."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.agents import make_agent, shown
from tests.support.brokers import replica
from tests.support.library import make_project
from tests.support.messages import HELLO, completion
from tests.support.provider import BASE, Provider
from tests.support.streams import asked
from tests.support.threads import ask, make_thread, say
from tests.support.tool_servers import ToolProvider


def bot(**fields) -> list[dict]:
    return [{"name": "bot", **fields}]


async def test_an_agent_with_a_model_is_pinned_to_no_llm(redis_at):
    async with replica(redis_at) as broker:
        status, body, _ = await Provider(broker, agents=bot(model="qwen3")).register()
        assert status == 201 and body["agents"][0]["model"] == "qwen3" and body["agents"][0]["llm"] is None
        assert await redis_at.read("llm-agents:") is None


async def test_a_live_llm_with_that_model_answers_for_it(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", model="qwen3", agents=bot(model="qwen3")) as provider:
        call = asyncio.create_task(broker.chat("agent/bot"))
        frame = await provider.next()
        assert frame["llmName"] == "m"
        await provider.answer(frame, {"ok": True})
        assert (await call)[0] == 200


async def test_it_changes_between_a_model_and_an_llm(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bot(llmName="m")) as provider:
        provider._agents = bot(model="qwen3")
        assert (await provider.register())[0] == 201
        row = await shown(broker, "bot")
        assert row["model"] == "qwen3" and row["llm"] is None and await redis_at.read("llm-agents:m") is None
        provider._agents = bot(llmName="m")
        assert (await provider.register())[0] == 201
        row = await shown(broker, "bot")
        assert row["model"] is None and row["llm"]["name"] == "m"


async def test_it_outlives_the_llms_with_its_model(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", model="qwen3", agents=bot(model="qwen3")):
        assert (await broker.call("DELETE", f"{BASE}/m"))[0] == 204
        assert (await shown(broker, "bot"))["status"] == "active"


@pytest.mark.parametrize("fields", [{}, {"llmName": ""}, {"llmName": "m", "model": "x"}, {"model": ""}, {"model": "x" * 129}])
async def test_neither_or_both_is_422_and_nothing_is_registered(redis_at, fields):
    async with replica(redis_at) as broker:
        status, body, _ = await Provider(broker, "m", agents=bot(**fields)).register()
        assert status == 422 and body["error"]["param"].startswith("agents[0].")
        assert (await broker.call("GET", BASE))[1] == [] and await shown(broker, "bot") is None


@pytest.mark.parametrize("by_turn", [False, True])
@pytest.mark.parametrize("deleted", [False, True])
async def test_when_its_llm_goes_while_a_tool_is_used_that_answer_ends_and_the_next_is_anothers(redis_at, by_turn, deleted):
    async with (
        replica(redis_at) as broker, ToolProvider(broker, "home") as tools,
        Provider(broker, "a", model="qwen3") as first, Provider(broker, "b", model="qwen3") as second,
    ):
        await make_project(broker, "house", mcpServers=[{"name": "home", "toolServer": "home"}])
        await make_agent(broker, "bot", model="qwen3", project="house")
        thread = await make_thread(broker)
        task = asked(say(broker, thread) if by_turn else broker.chat("agent/bot", messages=HELLO))
        await tools.answer(await tools.next(), {"tools": [{"name": "weather", "inputSchema": {"type": "object"}}]})
        call = {"id": "call_1", "type": "function", "function": {"name": "home__weather", "arguments": "{}"}}
        await first.answer(await first.next(), completion("tool_calls", tool_calls=[call]))
        used = await tools.next()
        if deleted:
            assert (await broker.call("DELETE", f"{BASE}/a"))[0] == 204
        else:
            await first.close()
            await broker.until_status("a", "inactive")
        await tools.answer(used, {"content": [{"type": "text", "text": "warm"}]})
        async with asyncio.timeout(20):
            status, body, _ = await task
        assert (status, body["error"]["code"]) == (503, "agent_llm_missing" if deleted else "publisher_offline")
        assert "'a'" in body["error"]["message"] and second.frames.empty()
        await ask(broker, second, thread)
