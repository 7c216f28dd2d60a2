"""The official OpenAI SDK against a broker, with a publisher and a backend behind it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx2
import openai
import pytest

from tests.support.waiting import BUSY_S

MODEL = "qwen/qwen3:8b"
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
PICTURE = "data:image/png;base64,iVBORw0KGgo="


@asynccontextmanager
async def sdk(world, **more) -> AsyncIterator[openai.AsyncOpenAI]:
    """``attempts`` on the client counts what it sent."""
    attempts: list[str] = []

    async def count(request: httpx2.Request) -> None:
        attempts.append(request.url.path)

    async with httpx2.AsyncClient(event_hooks={"request": [count]}, timeout=20) as http:
        client = openai.AsyncOpenAI(base_url=f"{world.broker_url}/v1", api_key="any", http_client=http, **more)
        client.attempts = attempts
        yield client


async def seen(world) -> list[dict]:
    async with aiohttp.ClientSession() as http, http.get(world.backend_url.removesuffix("/v1") + "/seen") as answer:
        return (await answer.json())["seen"]


async def test_a_chat_completion(world):
    async with sdk(world) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content == "tök€n0 tök€n1 tök€n2 "
    assert answer.choices[0].finish_reason == "stop" and answer.usage.total_tokens == 4
    assert answer.model_extra["unknown_field"] == 1.0 and answer._request_id.startswith("req_")


async def test_a_streamed_chat_completion(world):
    async with sdk(world) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        words = [chunk.choices[0].delta.content async for chunk in stream]
    assert words == ["tök€n0 ", "tök€n1 ", "tök€n2 "]


async def test_the_usage_that_stream_options_ask_for_arrives(world):
    async with sdk(world) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage.total_tokens == 4 and chunks[-1].choices == []


async def test_tools_whole_and_streamed(world):
    async with sdk(world) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=HELLO, tools=TOOLS)
        assert answer.choices[0].finish_reason == "tool_calls"
        assert answer.choices[0].message.tool_calls[0].function.name == "look_up"
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, tools=TOOLS, stream=True)
        calls = [chunk.choices[0].delta.tool_calls[0] async for chunk in stream]
    assert calls[0].id == "call_1" and "".join(call.function.arguments for call in calls) == "{}"


async def test_images_and_parameters_reach_the_backend_untouched(world):
    content = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    async with sdk(world) as client:
        await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": content}], temperature=0.25, seed=7,
            extra_body={"marker": "images", "top_k": 5},
        )
    body = next(b for b in (json.loads(one["body"]) for one in await seen(world)) if b.get("marker") == "images")
    assert body["messages"][0]["content"] == content and body["model"] == "qwen3"
    assert body["temperature"] == 0.25 and body["seed"] == 7 and body["top_k"] == 5


async def test_a_large_request_reaches_the_backend_whole(world):
    text = "ä" * 1_500_000
    async with sdk(world) as client:
        await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}], extra_body={"marker": "large"}
        )
    body = next(b for b in (json.loads(one["body"]) for one in await seen(world)) if b.get("marker") == "large")
    assert body["messages"][0]["content"] == text


async def test_completions(world):
    async with sdk(world) as client:
        answer = await client.completions.create(model=MODEL, prompt="once upon")
    assert answer.choices[0].text == "tök€n0 tök€n1 tök€n2 "


@pytest.mark.parametrize("form", ["the SDK's default", "float", "base64"])
async def test_embeddings_in_every_form(world, form):
    more = {} if form == "the SDK's default" else {"encoding_format": form}
    async with sdk(world) as client:
        answer = await client.embeddings.create(model=MODEL, input=["one", "two"], **more)
    assert len(answer.data) == 2
    if form == "base64":
        assert isinstance(answer.data[0].embedding, str)
    else:
        assert answer.data[1].embedding == [0.25, -1.0, 0.5]


async def test_models_are_listed_and_retrieved_even_with_a_slash_in_the_name(world):
    async with sdk(world) as client:
        names = {model.id async for model in client.models.list()}
        model = await client.models.retrieve(MODEL)
    assert {MODEL, "narrow", "asleep"} <= names
    assert model.id == MODEL and model.created > 1_700_000_000


async def test_an_agent_is_a_model(world):
    row = {"name": "poet", "llm": MODEL, "systemPrompt": "rhyme", "defaultParams": {"temperature": 0.125}}
    async with aiohttp.ClientSession() as http, sdk(world) as client:
        async with http.post(f"{world.broker_url}/api/v1/agents", json=row) as made:
            assert made.status == 201
        assert "agent/poet" in {model.id async for model in client.models.list()}
        assert (await client.models.retrieve("agent/poet")).owned_by == "reveille"
        answer = await client.chat.completions.create(model="agent/poet", messages=HELLO, extra_body={"marker": "whole"})
        assert answer.choices[0].message.content == "tök€n0 tök€n1 tök€n2 "
        stream = await client.chat.completions.create(
            model="agent/poet", messages=HELLO, stream=True, temperature=0.5, extra_body={"marker": "streamed"}
        )
        assert [part.choices[0].delta.content async for part in stream] == ["tök€n0 ", "tök€n1 ", "tök€n2 "]
        with pytest.raises(openai.BadRequestError, match="only chats"):
            await client.embeddings.create(model="agent/poet", input="a")
        with pytest.raises(openai.NotFoundError) as refused:
            await client.chat.completions.create(model="agent/nobody", messages=HELLO)
        assert refused.value.code == "model_not_found"
    bodies = {body.get("marker"): body for body in (json.loads(one["body"]) for one in await seen(world))}
    for marker, temperature in (("whole", 0.125), ("streamed", 0.5)):
        body = bodies[marker]
        assert body["messages"] == [{"role": "system", "content": "rhyme"}, *HELLO]
        assert body["temperature"] == temperature and body["model"] == "qwen3"


async def test_an_unknown_model_is_model_not_found(world):
    async with sdk(world) as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await client.chat.completions.create(model="nobody", messages=HELLO)
        assert refused.value.code == "model_not_found" and "nobody" in str(refused.value)
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nobody")


async def test_a_failed_wake_is_not_retried(world):
    before = len(world.wakes)
    async with sdk(world) as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await client.chat.completions.create(model="asleep", messages=HELLO)
        assert refused.value.status_code == 503 and refused.value.code == "wake_failed"
        assert "answered 500" in str(refused.value)
        assert len(client.attempts) == 1 and len(world.wakes) == before + 1


async def test_a_backends_429_comes_with_its_retry_after(world):
    async with sdk(world, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(
                model=MODEL, messages=HELLO, extra_body={"script": {"status": 429, "retry_after": "7"}}
            )
    assert refused.value.response.headers["retry-after"] == "7" and refused.value.code == "scripted"


async def test_a_full_queue_is_429_with_a_computed_retry_after(world):
    async with sdk(world, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="narrow", messages=HELLO, stream=True, extra_body={"script": {"hang": "stream"}}
        )
        await anext(aiter(stream))
        waits = asyncio.create_task(client.chat.completions.create(model="narrow", messages=HELLO))
        refused = None
        async with asyncio.timeout(10):
            while refused is None:
                probe = asyncio.create_task(client.chat.completions.create(model="narrow", messages=HELLO))
                done, _ = await asyncio.wait({probe, waits}, return_when=asyncio.FIRST_COMPLETED)
                # Whichever of the two came second finds the line full.
                task = done.pop()
                refused = task.exception()
                left = waits if task is probe else probe
        await stream.close()
        assert isinstance(refused, openai.RateLimitError) and refused.code == "queue_full"
        assert 1 <= int(refused.response.headers["retry-after"]) <= 120
        assert (await left).choices[0].finish_reason == "stop"


async def test_a_stream_that_breaks_midway_raises(world):
    async with sdk(world) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True,
            extra_body={"script": {"tokens": 5, "break_after": 2, "delay_s": 0.05}},
        )
        words = []
        with pytest.raises(openai.APIError, match="closed the stream"):
            async for chunk in stream:
                words.append(chunk.choices[0].delta.content)
    assert words == ["tök€n0 ", "tök€n1 "]


async def test_a_backends_400_to_a_stream_is_a_400(world):
    async with sdk(world) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                model=MODEL, messages=HELLO, stream=True, extra_body={"script": {"status": 400}}
            )
    assert refused.value.code == "scripted" and len(client.attempts) == 1


async def test_closing_a_stream_stops_the_backend(world):
    async with sdk(world) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, extra_body={"marker": "closed", "script": {"hang": "stream"}}
        )
        await anext(aiter(stream))
        await stream.close()
        closed_at = time.monotonic()
        while not [one for one in await seen(world) if '"closed"' in one["body"] and one["aborted"]]:
            assert time.monotonic() - closed_at < 1 + BUSY_S, "the backend still works after its client left"
            await asyncio.sleep(0.02)
