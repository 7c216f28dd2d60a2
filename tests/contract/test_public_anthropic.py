"""A public LLM of type anthropic: callers speak OpenAI's chat, the upstream hears its own API."""

from __future__ import annotations

import json

import pytest

from tests.support.brokers import replica
from tests.support.engines.anthropic import Anthropic, Script, text, tool
from tests.support.public import HERE, make_llm
from tests.support.streams import asked, stream
from tests.support.waiting import eventually

CLAUDE = {"type": "anthropic", "model": "claude-a", "key": "sk-1"}


def hello(**more) -> dict:
    return {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}], **more}


async def test_a_chat_is_said_in_the_upstreams_words_and_back(redis_at):
    async with replica(redis_at, **HERE) as broker, Anthropic(key="sk-1") as upstream:
        await make_llm(broker, "claude", upstream.url + "/v1", **CLAUDE)
        status, body, _ = await broker.chat("claude", **hello(max_tokens=7))
        assert status == 200 and body["choices"][0]["message"]["content"] == "tök€n 🙂" and body["usage"]["total_tokens"] == 8
        assert (upstream.asked["model"], upstream.asked["system"], upstream.asked["max_tokens"]) == ("claude-a", "be kind", 7)
        headers = upstream.seen[-1].headers
        assert headers["x-api-key"] == "sk-1" and "Authorization" not in headers and headers["anthropic-version"]


@pytest.mark.parametrize("write_bytes", [0, 1])
async def test_a_stream_is_translated_as_it_comes(redis_at, write_bytes):
    script = Script(blocks=(text(), tool("call_1", "f", '{"a":', "1}")), stop_reason="tool_use", write_bytes=write_bytes)
    async with replica(redis_at, **HERE) as broker, Anthropic(script, key="sk-1") as upstream:
        await make_llm(broker, "claude", upstream.url, **CLAUDE)
        said = await stream(broker, "claude", **hello(stream_options={"include_usage": True}))
        chunks = [json.loads(one) for one in said.payloads[:-1]]
        assert said.payloads[-1] == b"[DONE]" and chunks[-1]["usage"]["total_tokens"] == 8
        deltas = [one["choices"][0]["delta"] for one in chunks if one["choices"]]
        assert "".join(one.get("content") or "" for one in deltas) == "tök€n 🙂"
        calls = [one["tool_calls"][0]["function"]["arguments"] for one in deltas if "tool_calls" in one]
        assert json.loads("".join(calls)) == {"a": 1}


@pytest.mark.parametrize("stream_it", [False, True])
async def test_an_error_is_told_in_openais_shape_with_its_status(redis_at, stream_it):
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
    script = Script(status=429, error=error, headers={"Retry-After": "9"})
    async with replica(redis_at, **HERE) as broker, Anthropic(script, key="sk-1") as upstream:
        await make_llm(broker, "claude", upstream.url, **CLAUDE)
        status, body, headers = await broker.chat("claude", **hello(stream=stream_it))
        assert (status, headers["Retry-After"]) == (429, "9")
        assert body["error"] == {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_error", "param": None}


@pytest.mark.parametrize("stream_it", [False, True])
async def test_what_cannot_be_said_there_is_400_naming_it(redis_at, stream_it):
    async with replica(redis_at, **HERE) as broker, Anthropic(key="sk-1") as upstream:
        await make_llm(broker, "claude", upstream.url, **CLAUDE)
        status, body, _ = await broker.chat("claude", **hello(n=2, stream=stream_it))
        assert status == 400 and body["error"]["param"] == "n" and not upstream.seen


async def test_it_only_chats(redis_at):
    async with replica(redis_at, **HERE) as broker, Anthropic(key="sk-1") as upstream:
        await make_llm(broker, "claude", upstream.url, **CLAUDE)
        status, body, _ = await broker.call("POST", "/v1/embeddings", {"model": "claude", "input": "x"})
        assert status == 400 and "only chats" in body["error"]["message"] and not upstream.seen


async def test_a_stream_that_is_cut_ends_with_an_error(redis_at):
    async with replica(redis_at, **HERE) as broker, Anthropic(Script(cut_after=400), key="sk-1") as upstream:
        await make_llm(broker, "claude", upstream.url, **CLAUDE)
        said = await stream(broker, "claude", **hello())
        assert said.error["status"] == 502 and b"[DONE]" not in said.body


@pytest.mark.parametrize("stream_it", [False, True])
async def test_an_answer_of_another_dialect_is_502(redis_real, stream_it):
    raw, kind = (b'data: {"choices":[]}\n\n', "text/event-stream") if stream_it else (b'{"choices":[]}', "application/json")
    script = Script(raw=raw, content_type=kind)
    async with replica(redis_real, **HERE) as broker, Anthropic(script, key="sk-1") as upstream:
        await make_llm(broker, "claude", upstream.url, **CLAUDE)
        status, body, _ = await broker.chat("claude", **hello(stream=stream_it))
        assert status == 502 and body["error"]["code"] == "backend_error"


async def test_delete_stops_it_within_a_second(redis_at):
    async with replica(redis_at, **HERE) as broker, Anthropic(Script(hang="stream"), key="sk-1") as upstream:
        await make_llm(broker, "claude", upstream.url, **CLAUDE)
        client = asked(stream(broker, "claude", **hello()))
        task = await eventually(lambda: next(iter(broker.broker.post.exchanges), None))
        await upstream.until(lambda: len(upstream.seen) == 1)
        assert (await broker.call("DELETE", f"/api/v1/requests/{task.decode()}"))[0] == 200
        await upstream.until(lambda: upstream.seen[0].aborted, 10.0)
        assert (await client).error["code"] == "request_cancelled"
