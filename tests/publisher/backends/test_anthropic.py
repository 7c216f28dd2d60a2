"""The anthropic backend against a server on the wire: what it asks, and what comes back."""

from __future__ import annotations

import json

import pytest

from tests.publisher.backends.anthropic_asking import ask, backend_at, chunks, pair, whole
from tests.support.engines.anthropic import Anthropic, Script, event, text, thinking, tool

# ── whole answers ───────────────────────────────────────────────────────────


async def test_a_message_becomes_a_chat_completion():
    async with pair() as (server, backend):
        said = await whole(backend)
        assert isinstance(said.pop("created"), int)
        assert said == {
            "id": "msg_1", "object": "chat.completion", "model": "claude-a",
            "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": None,
                "message": {"role": "assistant", "content": "tök€n 🙂"},
            }],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8,
                      "prompt_tokens_details": {"cached_tokens": 0}},
        }
        assert server.asked["stream"] is False


async def test_tool_calls_thoughts_and_text_each_find_their_place():
    script = Script(
        blocks=(thinking("hm", "m"), text("let me see"), tool("t1", "f", '{"a": ', '"ü"}'), tool("t2", "g")),
        stop_reason="tool_use",
    )
    async with pair(script) as (_, backend):
        choice = (await whole(backend))["choices"][0]
        calls = choice["message"].pop("tool_calls")
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"] == {"role": "assistant", "content": "let me see", "reasoning_content": "hmm"}
        assert [(one["id"], one["type"], one["function"]["name"]) for one in calls] == \
            [("t1", "function", "f"), ("t2", "function", "g")]
        assert [json.loads(one["function"]["arguments"]) for one in calls] == [{"a": "ü"}, {}]


async def test_only_tool_calls_leave_the_content_null_and_nothing_leaves_it_empty():
    async with pair(Script(blocks=(tool("t", "f"),))) as (server, backend):
        assert (await whole(backend))["choices"][0]["message"]["content"] is None
        server.script = Script(blocks=())
        assert (await whole(backend))["choices"][0]["message"] == {"role": "assistant", "content": ""}


REASONS = [
    ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls"),
    ("refusal", "content_filter"), ("pause_turn", "stop"), ("model_context_window_exceeded", "length"),
    ("something_new", "stop"),
]


@pytest.mark.parametrize("theirs, ours", REASONS)
async def test_each_reason_to_stop_has_its_word(theirs, ours):
    async with pair(Script(stop_reason=theirs)) as (_, backend):
        assert (await whole(backend))["choices"][0]["finish_reason"] == ours
        assert [one["choices"][0]["finish_reason"] for one in await chunks(backend)][-1] == ours


async def test_what_came_from_a_cache_is_part_of_the_prompt():
    usage = {"input_tokens": 5, "output_tokens": 3, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 100}
    async with pair(Script(usage=usage)) as (_, backend):
        told = {"prompt_tokens": 115, "completion_tokens": 3, "total_tokens": 118,
                "prompt_tokens_details": {"cached_tokens": 100}}
        assert (await whole(backend))["usage"] == told
        assert (await chunks(backend, stream_options={"include_usage": True}))[-1]["usage"] == told


# ── what is sent ────────────────────────────────────────────────────────────


async def test_a_whole_conversation_with_tools_is_one_that_the_server_accepts():
    calls = [{"id": f"c:{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in (1, 2)]
    async with pair() as (server, backend):
        await whole(
            backend, temperature=2, tool_choice="auto", tools=[{"type": "function", "function": {"name": "f"}}],
            messages=[
                {"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "user", "content": ""},
                {"role": "assistant", "content": "", "tool_calls": calls},
                {"role": "tool", "tool_call_id": "c:1", "content": "1"},
                {"role": "tool", "tool_call_id": "c:2", "content": "2"}, {"role": "user", "content": "b"},
            ],
        )
        assert [turn["role"] for turn in server.asked["messages"]] == ["user", "assistant", "user"]


async def test_the_key_travels_in_its_header_and_a_local_server_needs_none():
    async with pair(key="sk-secret") as (server, backend):
        server.key = "sk-secret"
        await whole(backend)
        assert server.seen[-1].headers["anthropic-version"] == "2023-06-01"
        assert "Authorization" not in server.seen[-1].headers
        assert server.seen[-1].headers["x-api-key"] == "sk-secret"
    async with pair() as (server, backend):
        await whole(backend)
        assert "x-api-key" not in server.seen[-1].headers


@pytest.mark.parametrize("written, path", [
    ("", "/v1/messages"), ("/", "/v1/messages"), ("/v1", "/v1/messages"), ("/v1/", "/v1/messages"),
    ("/llm", "/llm/v1/messages"), ("/llm/v1", "/llm/v1/messages"),
])
async def test_the_address_may_be_written_with_or_without_its_version(written, path):
    async with Anthropic() as server, backend_at(server.url + written) as backend:
        await whole(backend)
        assert server.seen[-1].path == path
        assert backend.url == (server.url + written).rstrip("/")


async def test_the_address_for_messages_holds_no_secret():
    async with backend_at("https://ann:pass@host.example:1/v1?key=abc#x") as backend:
        assert backend.url == "https://host.example:1/v1"


async def test_a_large_request_arrives_whole():
    async with pair() as (server, backend):
        await whole(backend, messages=[{"role": "user", "content": "x" * (3 << 20)}])
        assert len(server.asked["messages"][0]["content"][0]["text"]) == 3 << 20


async def test_a_stream_that_was_not_asked_for_is_translated_all_the_same():
    words = event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}})
    script = Script(raw=words + event({"type": "message_stop"}), content_type="text/event-stream")
    async with pair(script) as (_, backend):
        status, headers, body = await ask(backend, streaming=False)
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert b'"content":"hi"' in body and body.endswith(b"data: [DONE]\n\n")
