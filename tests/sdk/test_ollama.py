"""The official Ollama client against a broker, with a publisher and a backend behind it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import ollama
import pytest

from tests.support.waiting import BUSY_S

MODEL = "qwen/qwen3:8b"
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]


@asynccontextmanager
async def sdk(world) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(host=world.broker_url, timeout=20)
    try:
        yield client
    finally:
        await client.close()


async def seen(backend_url: str) -> list[dict]:
    async with aiohttp.ClientSession() as http, http.get(backend_url.removesuffix("/v1") + "/seen") as answer:
        return (await answer.json())["seen"]


async def test_a_chat(world):
    async with sdk(world) as client:
        answer = await client.chat(model=MODEL, messages=HELLO, options={"temperature": 0.25, "num_predict": 9})
    assert answer.message.content == "tök€n0 tök€n1 tök€n2 " and answer.done is True and answer.done_reason == "stop"
    assert answer.prompt_eval_count == 1 and answer.eval_count == 3 and answer.total_duration > 0


async def test_a_streamed_chat(world):
    async with sdk(world) as client:
        lines = [line async for line in await client.chat(model=MODEL, messages=HELLO, stream=True)]
    assert [line.message.content for line in lines] == ["tök€n0 ", "tök€n1 ", "tök€n2 ", ""]
    assert lines[-1].done is True and lines[-1].eval_count == 3 and lines[-1].eval_duration >= 0


async def test_tools_whole_and_streamed(world):
    async with sdk(world) as client:
        answer = await client.chat(model=MODEL, messages=HELLO, tools=TOOLS)
        lines = [line async for line in await client.chat(model=MODEL, messages=HELLO, tools=TOOLS, stream=True)]
    for calls in (answer.message.tool_calls, [call for line in lines for call in line.message.tool_calls or ()]):
        assert [(call.function.name, call.function.arguments) for call in calls] == [("look_up", {})]


async def test_a_conversation_with_a_tools_answer_and_an_image_reaches_the_backend(world):
    calls = [{"function": {"name": "look_up", "arguments": {"q": 1}}}]
    conversation = [
        {"role": "user", "content": "marker-ollama", "images": [b"\x89PNG\r\n\x1a\n"]},
        {"role": "assistant", "content": "", "tool_calls": calls}, {"role": "tool", "tool_name": "look_up", "content": "found"},
    ]
    async with sdk(world) as client:
        await client.chat(model=MODEL, messages=conversation, tools=TOOLS)
    body = next(b for b in (json.loads(one["body"]) for one in await seen(world.backend_url)) if "marker-ollama" in json.dumps(b))
    user, assistant, answer = body["messages"]
    assert user["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert answer["tool_call_id"] == assistant["tool_calls"][0]["id"]


async def test_a_generation_whole_and_streamed(world):
    async with sdk(world) as client:
        answer = await client.generate(model=MODEL, prompt="hello", system="be kind")
        raw = await client.generate(model=MODEL, prompt="hello", raw=True)
        lines = [line async for line in await client.generate(model=MODEL, prompt="hello", stream=True)]
    assert answer.response == raw.response == "".join(line.response for line in lines) == "tök€n0 tök€n1 tök€n2 "


async def test_embeddings_of_both_calls(world):
    async with sdk(world) as client:
        many = await client.embed(model=MODEL, input=["one", "two"])
        one = await client.embeddings(model=MODEL, prompt="one")
    assert many.embeddings == [[0.25, -1.0, 0.5]] * 2 and one.embedding == [0.25, -1.0, 0.5]


async def test_listings(world):
    async with sdk(world) as client:
        names = {model.model for model in (await client.list()).models}
        ready = {model.model for model in (await client.ps()).models}
        shown = await client.show(MODEL)
    assert {MODEL, "narrow", "asleep"} <= names and MODEL in ready and "asleep" not in ready
    assert shown.capabilities == ["completion", "tools"] and shown.details.family == "openai"


async def test_an_unknown_model_is_404(world):
    async with sdk(world) as client:
        with pytest.raises(ollama.ResponseError, match="nobody") as refused:
            await client.chat(model="nobody", messages=HELLO)
        assert refused.value.status_code == 404
        with pytest.raises(ollama.ResponseError, match="nobody"):
            [line async for line in await client.chat(model="nobody", messages=HELLO, stream=True)]


async def test_a_failed_wake_is_told(world):
    async with sdk(world) as client:
        with pytest.raises(ollama.ResponseError, match="answered 500") as refused:
            await client.chat(model="asleep", messages=HELLO)
    assert refused.value.status_code == 503


async def test_a_stream_that_breaks_midway_raises(world):
    words = []
    async with sdk(world) as client:
        with pytest.raises(ollama.ResponseError, match="closed the stream"):
            async for line in await client.chat(model="breaking", messages=HELLO, stream=True):
                words.append(line.message.content)
    assert words == ["tök€n0 ", "tök€n1 "]


async def test_a_backends_429_is_a_429(world):
    async with sdk(world) as client:
        with pytest.raises(ollama.ResponseError, match="scripted") as refused:
            await client.generate(model="refusing", prompt="hello")
    assert refused.value.status_code == 429


async def test_leaving_a_stream_stops_the_backend(world):
    async with sdk(world) as client:
        lines = await client.chat(model="hanging", messages=HELLO, stream=True)
        await anext(lines)
        await lines.aclose()
        left_at = time.monotonic()
        while not [one for one in await seen(world.hanging_url) if one["aborted"]]:
            assert time.monotonic() - left_at < 1 + BUSY_S, "the backend still works after its client left"
            await asyncio.sleep(0.02)
