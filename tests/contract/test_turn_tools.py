"""Turns of agents with tools, from a real MCP server: told, kept, cancelled and stopped in mid-call."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.library import make_project
from tests.support.mcp_servers import notebook, serving
from tests.support.messages import call_piece, chunk
from tests.support.provider import Provider
from tests.support.public import HERE
from tests.support.streams import asked
from tests.support.threads import ask, assistant, cancel, make_thread, messages, telling, turn, user


@asynccontextmanager
async def talking(place, **settings):
    """(broker, the LLM's publisher, a thread with an agent whose tools are a notebook's)."""
    async with serving(notebook()) as server, replica(place, **HERE, **settings) as broker, Provider(broker, "m") as provider:
        await make_project(broker, "p", mcpServers=[{"name": "book", "url": server.url}])
        await make_agent(broker, "bot", "m", project="p")
        yield broker, provider, await make_thread(broker)


async def calls(provider: Provider, name: str, arguments: str) -> None:
    """The LLM calls a tool."""
    frame = await provider.next()
    await provider.chunk(frame, chunk("tool_calls", tool_calls=[call_piece(0, "c1", name, arguments)]))
    await provider.chunk(frame, "[DONE]", done=True)


async def ends(provider: Provider, text: str) -> dict:
    frame = await provider.next()
    await provider.chunk(frame, chunk("stop", content=text))
    await provider.chunk(frame, "[DONE]", done=True)
    return frame["request"]


async def test_a_tool_is_called_and_all_of_it_is_told_and_kept(redis_at):
    async with talking(redis_at) as (broker, provider, thread):
        async def play() -> dict:
            await calls(provider, "book__add", '{"a": 2, "b": 3}')
            return await ends(provider, "five")

        playing = asked(play())
        async with telling(broker, thread, "2 + 3?") as stream:
            found = await stream.rest(10)
        request = await playing
        assert [event.name for event in found] == ["tool_call", "tool_result", "text", "final"]
        result = found[1].data
        assert (result["id"], result["name"], result["isError"]) == ("c1", "book__add", False) and "5" in result["content"]
        kept = await messages(broker, thread)
        assert [(one["role"], one["status"]) for one in kept] == [(role, "complete") for role in ("user", "assistant", "tool", "assistant")]
        assert kept[2]["content"] == result["content"] and kept[2]["toolCallId"] == "c1"
        again = await ask(broker, provider, thread, "sure?")
        assert again["messages"] == [*request["messages"], assistant("five"), user("sure?")]


@pytest.mark.parametrize("way", ["cancel", "shutdown"])
async def test_a_tool_that_hangs_keeps_nobody(redis_at, way):
    async with talking(redis_at) as (broker, provider, thread), replica(redis_at, **HERE) as other:
        playing = asked(calls(provider, "book__sleep", '{"seconds": 60}'))
        async with telling(broker, thread) as stream:
            assert (await stream.next()).name == "tool_call"
            await playing
            if way == "cancel":
                assert await cancel(other, thread) == 204
            else:
                await broker.broker.drain(0.1)
            (error,) = await stream.rest()
            assert error.data["error"]["code"] == {"cancel": "cancelled", "shutdown": "broker_stopped"}[way]
        assert [(one["role"], one["status"]) for one in await messages(other, thread)] == [("user", "error"), ("assistant", "error")]
        assert (await turn(other, thread))["error"] == error.data["error"]


async def test_a_tool_server_that_is_away_is_a_warning_and_no_failure(redis_at):
    async with replica(redis_at, **HERE) as broker, Provider(broker, "m") as provider:
        await make_project(broker, "p", mcpServers=[{"name": "gone", "url": "http://127.0.0.1:9/mcp"}])
        await make_agent(broker, "bot", "m", project="p")
        thread = await make_thread(broker)
        playing = asked(ends(provider, "hi"))
        async with telling(broker, thread) as stream:
            found = await stream.rest(10)
        await playing
        assert [event.name for event in found] == ["warning", "text", "final"] and "'gone'" in found[0].data["message"]


async def test_a_warning_before_a_refusal_leaves_it_a_plain_one(redis_at):
    async with replica(redis_at, **HERE) as broker, Provider(broker, "m") as provider:
        await make_project(broker, "p", mcpServers=[{"name": "gone", "url": "http://127.0.0.1:9/mcp"}])
        await make_agent(broker, "bot", "m", project="p")
        thread = await make_thread(broker)

        async def play() -> None:
            await provider.fail(await provider.next(), "no", "backend_error")

        playing = asked(play())
        async with telling(broker, thread) as stream:
            assert stream.status == 502
        await playing
