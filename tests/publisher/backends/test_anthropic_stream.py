"""An Anthropic stream as OpenAI's: whatever is in it, and however it is cut."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.publisher.backends.anthropic_asking import (
    HELLO, blocks_of, chunks, deltas, pair, said_of, timeless, translated, whole,
)
from tests.support.engines.anthropic import Script, event, text, thinking, tool

FULL = Script(
    blocks=(thinking("hm", " ü"), text("tök", "€n", " 🙂", "\n\n", "data: [DONE]"), tool("t1", "f", '{"a', '": "🙂"}'), tool("t2", "g")),
    stop_reason="tool_use",
)


# ── what it says ────────────────────────────────────────────────────────────


async def test_a_stream_begins_with_the_role_and_ends_with_the_reason_and_done():
    async with pair() as (server, backend):
        told = await chunks(backend)
        assert server.asked["stream"] is True
        assert {(one["id"], one["object"], one["model"]) for one in told} == {("msg_1", "chat.completion.chunk", "claude-a")}
        assert [one["choices"][0]["delta"] for one in told] == [
            {"role": "assistant", "content": ""}, {"content": "tök"}, {"content": "€n"}, {"content": " 🙂"}, {},
        ]
        assert [one["choices"][0]["finish_reason"] for one in told] == [None] * 4 + ["stop"]
        assert not any("usage" in one for one in told)


async def test_usage_comes_last_when_it_was_asked_for():
    async with pair() as (_, backend):
        *_, finish, last = await chunks(backend, stream_options={"include_usage": True})
        assert finish["choices"][0]["finish_reason"] == "stop"
        assert last["choices"] == [] and last["usage"]["total_tokens"] == 8


def test_thoughts_and_tool_calls_are_told_piece_by_piece():
    assert deltas(translated(said_of(FULL)))[1:] == [
        {"reasoning_content": "hm"}, {"reasoning_content": " ü"},
        {"content": "tök"}, {"content": "€n"}, {"content": " 🙂"}, {"content": "\n\n"}, {"content": "data: [DONE]"},
        {"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '": "🙂"}'}}]},
        {"tool_calls": [{"index": 1, "id": "t2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]


def test_arguments_and_words_given_at_a_blocks_begin_are_not_lost():
    said = b"".join(event(one) for one in [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_stop"},
    ])
    begun, words, call, arguments, finish, done = translated(event({"type": "message_start", "message": {}}) + said)
    assert deltas([words]) == [{"content": "hi"}]
    assert json.loads(deltas([arguments])[0]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert (finish["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")


def test_calls_that_arrive_interleaved_keep_their_numbers():
    begin = [{"type": "content_block_start", "index": n, "content_block": {"type": "tool_use", "id": f"t{n}", "name": "f"}} for n in (3, 5)]
    pieces = [{"type": "content_block_delta", "index": n, "delta": {"type": "input_json_delta", "partial_json": f"{n}"}} for n in (5, 3)]
    said = translated(b"".join(event(one) for one in [*begin, *pieces, {"type": "message_stop"}]))
    assert [(call["index"], call["function"]["arguments"]) for delta in deltas(said)[2:-1] for call in delta["tool_calls"]] == [(1, "5"), (0, "3")]


def test_what_has_nothing_for_us_is_left_out():
    noise = [
        {"type": "ping"}, {"type": "something_new", "x": 1}, {"type": "content_block_stop", "index": 9},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "x"}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "server_tool_use", "id": "s", "name": "w", "input": {}}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"q"'}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "signature_delta", "signature": "x"}},
        {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 2}},
    ]
    whole_stream = said_of(Script())
    at = whole_stream.index(b"event: message_delta")
    said = whole_stream[:at] + b"".join(event(one) for one in noise) + b": comment\n\ndata: [DONE]\n\n" + whole_stream[at:]
    assert timeless(translated(said)) == timeless(translated(whole_stream))


def test_the_last_counts_win_but_never_a_smaller_one():
    said = b"".join(event(one) for one in [
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 4}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 0, "output_tokens": 7, "cache_read_input_tokens": 2}},
        {"type": "message_stop"},
    ])
    usage = translated(said, include_usage=True)[-2]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (11, 7, 18)


async def test_both_ways_say_the_same_and_are_what_openais_library_reads():
    async with pair(FULL) as (_, backend):
        completion = ChatCompletion.model_validate(await whole(backend)).choices[0]
        told = [ChatCompletionChunk.model_validate(one) for one in await chunks(backend, stream_options={"include_usage": True})]
        pieces = [one.choices[0].delta for one in told if one.choices]
        assert "".join(piece.content or "" for piece in pieces) == completion.message.content
        assert "".join(getattr(piece, "reasoning_content", "") for piece in pieces) == completion.message.reasoning_content
        assert told[-2].choices[0].finish_reason == completion.finish_reason == "tool_calls"
        for number, call in enumerate(completion.message.tool_calls):
            parts = [part for piece in pieces for part in piece.tool_calls or [] if part.index == number]
            assert (parts[0].id, parts[0].function.name) == (call.id, call.function.name)
            assert json.loads("".join(part.function.arguments for part in parts)) == json.loads(call.function.arguments)


# ── how it is cut ───────────────────────────────────────────────────────────


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, len(said_of(FULL))), max_size=12), st.booleans())
def test_however_the_connection_cuts_it_the_same_is_said(cuts, crlf):
    said = said_of(FULL)
    if crlf:
        said = said.replace(b"\n", b"\r\n")
    places = sorted({0, len(said), *(min(cut, len(said)) for cut in cuts)})
    parts = [said[begin:end] for begin, end in zip(places, places[1:])]
    assert timeless(translated(*parts)) == timeless(translated(said_of(FULL)))


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_small_writes_of_a_real_connection_lose_nothing(size):
    async with pair(FULL) as (server, backend):
        at_once = await chunks(backend)
        server.script = Script(blocks=FULL.blocks, stop_reason="tool_use", write_bytes=size)
        assert timeless(await chunks(backend)) == timeless(at_once)


def test_one_read_is_one_block():
    words = said_of(Script(blocks=(text(*"abcdef"),)))
    assert len(asyncio.run(blocks_of(words))) == 1
    events = words.split(b"\n\n")[:-1]
    # Each event of a read of its own: those that say nothing (ping, begin and end of a block) make no block.
    assert len(asyncio.run(blocks_of(*(one + b"\n\n" for one in events)))) == 1 + 6 + 1 + 1


async def test_words_are_passed_on_before_the_answer_ends():
    async with pair(Script(hang="stream")) as (_, backend):
        answer = await backend.infer("chat", json.dumps(HELLO).encode(), True)
        said = b""
        while "tök".encode() not in said:
            said += await answer.content.readany()
        answer.close()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.integers(1, 40))
def test_every_text_arrives_as_it_was_said(words, size):
    said = said_of(Script(blocks=(text(words),)))
    parts = [said[at:at + size] for at in range(0, len(said), size)]
    assert "".join(delta.get("content", "") for delta in deltas(translated(*parts))) == words
