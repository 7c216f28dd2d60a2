"""Agents by the official OpenAI, Anthropic and Ollama clients: with a prompt only, and with a tool that the broker runs."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import anthropic
import ollama
import openai
import pytest
from aiohttp import web

from tests.support.mcp_servers import handmade, result, tool

MODEL = "qwen/qwen3:8b"
HELLO = [{"role": "user", "content": "hello"}]
WORDS = "tök€n0 tök€n1 tök€n2 "
OWN = {"name": "look_up", "parameters": {"type": "object", "properties": {}}}


class Agent(NamedTuple):
    """``looks``: how often its tool was called."""

    model: str
    prompt: str
    looks: list[dict]


@pytest.fixture(params=["plain", "with tools"])
def kind(request) -> str:
    return request.param


@asynccontextmanager
async def agent(world, kind: str = "with tools") -> AsyncIterator[Agent]:
    """A new agent. With tools: of a project with an MCP server, which its LLM calls once."""
    looks: list[dict] = []

    async def look(_: web.Request, asked: dict) -> web.Response:
        looks.append(asked["params"])
        return result(asked, {"content": [{"type": "text", "text": "it is warm"}]})

    name = f"poet-{uuid.uuid4().hex[:8]}"
    row = {"name": name, "llm": MODEL, "systemPrompt": f"rhyme as {name}"}
    async with handmade([tool("look")], call=look) as server, aiohttp.ClientSession(world.broker_url) as http:
        if kind == "with tools":
            project = {"name": name, "mcpServers": [{"name": "world", "url": server.url}]}
            async with http.post("/api/v1/projects", json=project) as made:
                assert made.status == 201, await made.text()
            row["project"] = name
        async with http.post("/api/v1/agents", json=row) as made:
            assert made.status == 201, await made.text()
        yield Agent(f"agent/{name}", row["systemPrompt"], looks)


async def conversations(world, prompt: str) -> list[list[dict]]:
    """The messages of every call that the LLM got for an agent with that prompt."""
    async with aiohttp.ClientSession() as http, http.get(world.backend_url.removesuffix("/v1") + "/seen") as answer:
        bodies = [json.loads(one["body"]) for one in (await answer.json())["seen"]]
    return [body["messages"] for body in bodies if body.get("messages", [{}])[0].get("content") == prompt]


async def check(world, agent: Agent, kind: str, times: int) -> None:
    """Every answer was the agent's, and took its tool if it has one."""
    asked = await conversations(world, agent.prompt)
    if kind == "plain":
        assert len(asked) == times and not agent.looks
        return
    assert len(asked) == 2 * times and agent.looks == [{"name": "look", "arguments": {}}] * times
    assert asked[1][-1]["role"] == "tool" and asked[1][-1]["content"] == "it is warm"
    assert asked[1][-2]["tool_calls"][0]["function"]["name"] == "world__look"


async def test_openais_client(world, kind):
    async with agent(world, kind) as bot, openai.AsyncOpenAI(base_url=f"{world.broker_url}/v1", api_key="any") as client:
        answer = await client.chat.completions.create(model=bot.model, messages=HELLO)
        assert answer.choices[0].message.content == WORDS and answer.choices[0].finish_reason == "stop"
        assert answer.choices[0].message.tool_calls is None
        assert answer.usage.total_tokens == (4 if kind == "plain" else 8)
        stream = await client.chat.completions.create(
            model=bot.model, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == WORDS
        assert len({chunk.id for chunk in chunks}) == 1
        assert chunks[-1].usage.total_tokens == (4 if kind == "plain" else 8)
        await check(world, bot, kind, 2)


async def test_openais_helper_for_streams_puts_an_agents_answer_together(world):
    async with agent(world) as bot, openai.AsyncOpenAI(base_url=f"{world.broker_url}/v1", api_key="any") as client:
        async with client.chat.completions.stream(model=bot.model, messages=HELLO) as stream:
            answer = await stream.get_final_completion()
        assert answer.choices[0].message.content == WORDS and answer.choices[0].finish_reason == "stop"


async def test_openais_client_with_a_tool_of_its_own(world):
    async with agent(world) as bot, openai.AsyncOpenAI(base_url=f"{world.broker_url}/v1", api_key="any") as client:
        given = {"model": bot.model, "messages": HELLO, "tools": [{"type": "function", "function": OWN}]}
        answer = await client.chat.completions.create(**given)
        assert answer.choices[0].finish_reason == "tool_calls"
        assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["look_up"]
        async with client.chat.completions.stream(**given) as stream:
            answer = await stream.get_final_completion()
        call = answer.choices[0].message.tool_calls[0]
        assert (call.function.name, call.function.arguments) == ("look_up", "{}") and not bot.looks
        told = [*HELLO, answer.choices[0].message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "found"}]
        answer = await client.chat.completions.create(**{**given, "messages": told})
        assert answer.choices[0].message.content == WORDS


async def test_openais_client_is_told_of_a_clash_of_names(world):
    async with agent(world) as bot, openai.AsyncOpenAI(base_url=f"{world.broker_url}/v1", api_key="any") as client:
        with pytest.raises(openai.UnprocessableEntityError, match="world__look"):
            await client.chat.completions.create(
                model=bot.model, messages=HELLO, tools=[{"type": "function", "function": {**OWN, "name": "world__look"}}]
            )


async def test_anthropics_client(world, kind):
    async with agent(world, kind) as bot, anthropic.AsyncAnthropic(base_url=world.broker_url, api_key="any") as client:
        answer = await client.messages.create(model=bot.model, max_tokens=50, messages=HELLO)
        assert [block.text for block in answer.content] == [WORDS] and answer.stop_reason == "end_turn"
        assert answer.usage.output_tokens == (3 if kind == "plain" else 6)
        async with client.messages.stream(model=bot.model, max_tokens=50, messages=HELLO) as stream:
            answer = await stream.get_final_message()
        assert [block.text for block in answer.content] == [WORDS] and answer.stop_reason == "end_turn"
        await check(world, bot, kind, 2)


async def test_anthropics_client_with_a_tool_of_its_own(world):
    async with agent(world) as bot, anthropic.AsyncAnthropic(base_url=world.broker_url, api_key="any") as client:
        own = {"name": "look_up", "input_schema": OWN["parameters"]}
        async with client.messages.stream(model=bot.model, max_tokens=50, messages=HELLO, tools=[own]) as stream:
            answer = await stream.get_final_message()
        assert answer.stop_reason == "tool_use" and [block.name for block in answer.content] == ["look_up"]


async def test_ollamas_client(world, kind):
    async with agent(world, kind) as bot:
        client = ollama.AsyncClient(host=world.broker_url, timeout=20)
        try:
            answer = await client.chat(model=bot.model, messages=HELLO)
            assert answer.message.content == WORDS and answer.done_reason == "stop" and not answer.message.tool_calls
            assert answer.eval_count == (3 if kind == "plain" else 6)
            lines = [line async for line in await client.chat(model=bot.model, messages=HELLO, stream=True)]
            assert "".join(line.message.content for line in lines) == WORDS and lines[-1].done
            answer = await client.generate(model=bot.model, prompt="hello")
            assert answer.response == WORDS
        finally:
            await client.close()
        await check(world, bot, kind, 3)
