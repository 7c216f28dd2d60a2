"""The official Anthropic SDK against a broker, with a publisher and a backend behind it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import anthropic
import httpx2
import pytest

from tests.support.waiting import BUSY_S

MODEL = "qwen/qwen3:8b"
HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"name": "look_up", "input_schema": {"type": "object", "properties": {}}}]
ASKED = {"model": MODEL, "max_tokens": 50, "messages": HELLO}


@asynccontextmanager
async def sdk(world, **more) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """``attempts`` on the client counts what it sent."""
    attempts: list[str] = []

    async def count(request: httpx2.Request) -> None:
        attempts.append(request.url.path)

    async with httpx2.AsyncClient(event_hooks={"request": [count]}, timeout=20) as http:
        client = anthropic.AsyncAnthropic(base_url=world.broker_url, api_key="any", http_client=http, **more)
        client.attempts = attempts
        yield client


async def seen(backend_url: str) -> list[dict]:
    async with aiohttp.ClientSession() as http, http.get(backend_url.removesuffix("/v1") + "/seen") as answer:
        return (await answer.json())["seen"]


async def test_a_message(world):
    async with sdk(world) as client:
        message = await client.messages.create(**ASKED)
    assert message.content[0].text == "tök€n0 tök€n1 tök€n2 " and message.stop_reason == "end_turn"
    assert message.usage.input_tokens == 1 and message.usage.output_tokens == 3 and message.model == MODEL
    assert message._request_id.startswith("req_")


async def test_a_streamed_message(world):
    async with sdk(world) as client, client.messages.stream(**ASKED) as stream:
        words = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    assert words == ["tök€n0 ", "tök€n1 ", "tök€n2 "]
    assert message.content[0].text == "".join(words) and message.stop_reason == "end_turn"
    assert message.usage.input_tokens == 1 and message.usage.output_tokens == 3


async def test_tools_whole_and_streamed(world):
    async with sdk(world) as client:
        message = await client.messages.create(**ASKED, tools=TOOLS)
        async with client.messages.stream(**ASKED, tools=TOOLS) as stream:
            kinds = [event.type async for event in stream]
            streamed = await stream.get_final_message()
    for one in (message, streamed):
        assert one.stop_reason == "tool_use"
        assert (one.content[0].type, one.content[0].name, one.content[0].input) == ("tool_use", "look_up", {})
    assert "input_json" in kinds


async def test_a_conversation_with_a_tools_result_reaches_the_backend(world):
    conversation = [
        *HELLO, {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look_up", "input": {"q": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "found marker-anthropic"}]},
    ]
    async with sdk(world) as client:
        await client.messages.create(model=MODEL, max_tokens=5, messages=conversation, system="be kind", tools=TOOLS)
    body = next(b for b in (json.loads(one["body"]) for one in await seen(world.backend_url)) if "marker-anthropic" in json.dumps(b))
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool"]
    assert body["model"] == "qwen3" and body["max_tokens"] == 5


async def test_tokens_are_counted(world):
    async with sdk(world) as client:
        count = await client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "word " * 100}])
    assert 100 <= count.input_tokens <= 200


async def test_models_are_listed_and_retrieved(world):
    async with sdk(world) as client:
        names = {model.id async for model in client.models.list()}
        model = await client.models.retrieve("narrow")
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("nobody")
    assert {MODEL, "narrow", "asleep"} <= names and model.id == model.display_name == "narrow"


async def test_an_unknown_model_is_not_found(world):
    async with sdk(world) as client:
        with pytest.raises(anthropic.NotFoundError, match="nobody") as refused:
            await client.messages.create(**{**ASKED, "model": "nobody"})
    assert refused.value.body["error"]["type"] == "not_found_error" and refused.value.request_id.startswith("req_")


async def test_a_failed_wake_is_not_retried(world):
    before = len(world.wakes)
    async with sdk(world) as client:
        with pytest.raises(anthropic.APIStatusError, match="answered 500") as refused:
            await client.messages.create(**{**ASKED, "model": "asleep"})
        assert refused.value.body["error"] == {
            "type": "api_error", "message": refused.value.body["error"]["message"], "details": {"error_code": "wake_failed"},
        }
        assert refused.value.status_code == 503 and len(client.attempts) == 1 and len(world.wakes) == before + 1


async def test_a_stream_that_breaks_midway_raises(world):
    words = []
    async with sdk(world) as client:
        with pytest.raises(anthropic.APIStatusError, match="closed the stream"):
            async with client.messages.stream(**{**ASKED, "model": "breaking"}) as stream:
                async for text in stream.text_stream:
                    words.append(text)
    assert words == ["tök€n0 ", "tök€n1 "]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_backends_429_comes_with_its_retry_after(world, streaming):
    async with sdk(world, max_retries=0) as client:
        with pytest.raises(anthropic.RateLimitError) as refused:
            await client.messages.create(**{**ASKED, "model": "refusing"}, stream=streaming)
    assert refused.value.response.headers["retry-after"] == "7" and refused.value.body["error"]["type"] == "rate_limit_error"


async def test_closing_a_stream_stops_the_backend(world):
    async with sdk(world) as client:
        stream = await client.messages.create(**{**ASKED, "model": "hanging"}, stream=True)
        await anext(aiter(stream))
        await stream.close()
        closed_at = time.monotonic()
        while not [one for one in await seen(world.hanging_url) if one["aborted"]]:
            assert time.monotonic() - closed_at < 1 + BUSY_S, "the backend still works after its client left"
            await asyncio.sleep(0.02)
