"""The Anthropic front: what its clients send and get, on the wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.dialects.messages_stream import EventWriter
from tests.support.brokers import replica
from tests.support.messages import (
    HELLO, PATH, asking, call_piece, chunk, completion, event_of, events, open_stream, usage_chunk,
)
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens

PICTURE = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
TOOL = {"name": "look_up", "description": "looks up", "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}}}


async def relayed(place, said: object, *, status: int = 200, more: dict | None = None, **body):
    """(chat request, status, answer, headers) of one message that the LLM answers with ``said``."""
    async with replica(place) as broker, Provider(broker, "m") as provider:
        asking_ = asked(broker.call("POST", PATH, asking(**body)))
        frame = await provider.next()
        await provider.answer(frame, said, status=status, **(more or {}))
        return frame, *(await asking_)


async def streamed(place, *chunks: str, **body) -> list[tuple[str, dict]]:
    async with replica(place) as broker, Provider(broker, "m") as provider:
        opening = asked(open_stream(broker, **body))
        frame = await provider.next()
        for one in chunks:
            await provider.chunk(frame, one)
        await provider.chunk(frame, "[DONE]", done=True)
        async with await opening as response:
            assert response.status == 200 and response.content_type == "text/event-stream"
            assert response.headers["request-id"] == response.headers["X-Request-Id"]
            return events(await response.read())


def texts(said: list[tuple[str, dict]], kind: str = "text") -> str:
    deltas = [data["delta"] for name, data in said if name == "content_block_delta"]
    return "".join(delta.get(kind, "") for delta in deltas)


async def test_a_message_goes_out_as_a_chat_and_its_answer_comes_back_as_a_message(redis_at):
    frame, status, answer, headers = await relayed(
        redis_at, completion(content="hi", reasoning_content="hm"), system="be kind", temperature=0.5, top_p=0.9, top_k=5,
        stop_sequences=["END"], metadata={"user_id": "u1"}, service_tier="auto", thinking={"type": "enabled", "budget_tokens": 2000},
    )
    assert frame["operation"] == "chat" and frame["streaming"] is False
    assert frame["request"] == {
        "model": "m", "max_tokens": 100, "stream": False, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["END"],
        "user": "u1", "messages": [{"role": "system", "content": "be kind"}, *HELLO],
    }
    assert status == 200 and headers["request-id"] == headers["X-Request-Id"]
    assert answer == {
        "id": headers["request-id"].replace("req_", "msg_"), "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "hi"}],
        "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0},
    }


async def test_every_block_of_a_conversation_has_its_place_in_the_chat(redis_real):
    conversation = [
        {"role": "user", "content": [{"type": "text", "text": "what is it?", "cache_control": {"type": "ephemeral"}},
                                     {"type": "image", "source": PICTURE},
                                     {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "I look"},
                                          {"type": "tool_use", "id": "t1", "name": "look_up", "input": {"q": "ä"}},
                                          {"type": "tool_use", "id": "t2", "name": "look_up", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a cat"},
                                     {"type": "text", "text": "go on"},
                                     {"type": "tool_result", "tool_use_id": "t2", "is_error": True,
                                      "content": [{"type": "image", "source": PICTURE}]}]},
        {"role": "user", "content": [{"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
                                     {"type": "text", "text": "sum up"}]},
    ]
    frame, status, _, _ = await relayed(
        redis_real, completion(content="x"), messages=conversation, system=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        tools=[TOOL, {"name": "bare", "type": "custom", "input_schema": {"type": "object"}}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True}, output_config={"effort": "high"},
    )
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    assert status == 200 and frame["request"]["messages"] == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": [{"type": "text", "text": "what is it?"}, image,
                                     {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
        {"role": "assistant", "content": "I look", "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "look_up", "arguments": json.dumps({"q": "ä"})}},
            {"id": "t2", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "a cat"},
        {"role": "tool", "tool_call_id": "t2", "content": "(see the attachment in the next message)"},
        {"role": "user", "content": [{"type": "text", "text": "go on"}, image]},
        {"role": "user", "content": "T\nD\n\nsum up"},
    ]
    assert frame["request"]["tools"] == [
        {"type": "function", "function": {"name": "look_up", "description": "looks up", "parameters": TOOL["input_schema"]}},
        {"type": "function", "function": {"name": "bare", "parameters": {"type": "object"}}},
    ]
    assert frame["request"]["tool_choice"] == "required" and frame["request"]["parallel_tool_calls"] is False
    assert frame["request"]["reasoning_effort"] == "high"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({"type": "auto"}, "auto"), ({"type": "none"}, "none"),
     ({"type": "tool", "name": "look_up"}, {"type": "function", "function": {"name": "look_up"}})],
)
async def test_tool_choices(redis_real, choice, expected):
    frame, _, _, _ = await relayed(redis_real, completion(content="x"), tools=[TOOL], tool_choice=choice)
    assert frame["request"]["tool_choice"] == expected


async def test_a_json_schema_becomes_a_response_format(redis_real):
    schema = {"type": "object"}
    frame, _, _, _ = await relayed(
        redis_real, completion(content="{}"), output_config={"format": {"type": "json_schema", "schema": schema}}
    )
    assert frame["request"]["response_format"]["json_schema"]["schema"] == schema


async def test_tool_calls_come_back_as_tool_use_blocks(redis_real):
    calls = [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"q":"ä"}'}},
             {"id": "c2", "type": "function", "function": {"name": "look_up", "arguments": ""}}]
    _, _, answer, _ = await relayed(redis_real, completion("tool_calls", content=None, tool_calls=calls), tools=[TOOL])
    assert answer["stop_reason"] == "tool_use" and answer["content"] == [
        {"type": "tool_use", "id": "c1", "name": "look_up", "input": {"q": "ä"}},
        {"type": "tool_use", "id": "c2", "name": "look_up", "input": {}},
    ]


@pytest.mark.parametrize(
    ("finish", "reason"), [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal"), ("odd", "end_turn")]
)
async def test_why_an_answer_stopped(redis_real, finish, reason):
    _, _, answer, _ = await relayed(redis_real, completion(finish, content="x"))
    assert answer["stop_reason"] == reason


async def test_a_stop_sequence_is_named_where_the_server_names_it(redis_real):
    said = completion(content="x")
    said["choices"][0]["stop_reason"] = "END"
    _, _, answer, _ = await relayed(redis_real, said, stop_sequences=["END"])
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", "END")


async def test_a_stream_has_anthropics_events_in_their_order(redis_at):
    said = await streamed(
        redis_at, chunk(role="assistant", content=""), chunk(reasoning_content="hm"), chunk(content="tök"), chunk(content="€n"),
        chunk("stop"), usage_chunk(9, 4, cached=2),
    )
    assert [name for name, _ in said] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "content_block_start",
        "content_block_delta", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ]
    assert texts(said, "thinking") == "hm" and texts(said) == "tök€n"
    assert [data["index"] for name, data in said if "block" in name] == [0, 0, 0, 1, 1, 1, 1]
    start, end = said[0][1]["message"], said[-2][1]
    assert start["model"] == "m" and start["content"] == [] and start["stop_reason"] is None
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert end["usage"] == {
        "input_tokens": 7, "output_tokens": 4, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 0,
    }


async def test_a_stream_asks_the_llm_for_its_usage(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(open_stream(broker))
        frame = await provider.next()
        assert frame["streaming"] is True and frame["request"]["stream_options"] == {"include_usage": True}
        await provider.chunk(frame, "[DONE]", done=True)
        async with await opening as response:
            assert [name for name, _ in events(await response.read())] == ["message_start", "message_delta", "message_stop"]


async def test_streamed_tool_calls_are_blocks_one_after_the_other(redis_real):
    said = await streamed(
        redis_real, chunk(content="I look"), chunk(tool_calls=[call_piece(0, "c1", "look_up")]),
        chunk(tool_calls=[call_piece(0, arguments='{"q":')]), chunk(tool_calls=[call_piece(0, arguments='"ä"}')]),
        chunk(tool_calls=[call_piece(1, "c2", "look_up", "{}")]), chunk("tool_calls"), tools=[TOOL],
    )
    starts = [data["content_block"] for name, data in said if name == "content_block_start"]
    assert starts == [
        {"type": "text", "text": ""}, {"type": "tool_use", "id": "c1", "name": "look_up", "input": {}},
        {"type": "tool_use", "id": "c2", "name": "look_up", "input": {}},
    ]
    pieces = [(data["index"], data["delta"]["partial_json"]) for name, data in said if "partial_json" in data.get("delta", ())]
    assert pieces == [(1, '{"q":'), (1, '"ä"}'), (2, "{}")]
    assert said[-2][1]["delta"]["stop_reason"] == "tool_use"


async def test_calls_that_are_numbered_badly_are_told_apart_by_their_ids(redis_real):
    said = await streamed(
        redis_real, chunk(tool_calls=[call_piece(0, "c1", "a", "{}")]), chunk(tool_calls=[call_piece(0, "c2", "b", "{}")]),
        chunk("stop", tool_calls=[call_piece(None, "c3", "c", "{}")]),
    )
    starts = [data["content_block"]["id"] for name, data in said if name == "content_block_start"]
    assert starts == ["c1", "c2", "c3"] and said[-2][1]["delta"]["stop_reason"] == "tool_use"


async def test_pieces_of_calls_that_are_mixed_end_in_an_error(redis_real):
    said = await streamed(
        redis_real, chunk(tool_calls=[call_piece(0, "c1", "a", "{")]), chunk(tool_calls=[call_piece(1, "c2", "b", "{")]),
        chunk(tool_calls=[call_piece(0, arguments="}")]),
    )
    assert said[-1][0] == "error" and said[-1][1]["error"]["details"]["error_code"] == "backend_error"


async def test_a_token_leaves_when_it_came(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(open_stream(broker))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="a"))
        async with await opening as response:
            names = [(await event_of(response))[0] for _ in range(3)]
            assert names == ["message_start", "content_block_start", "content_block_delta"]
            await provider.chunk(frame, chunk(content="b"))
            assert (await event_of(response))[1]["delta"] == {"type": "text_delta", "text": "b"}
            await provider.chunk(frame, chunk("stop"))
            assert await event_of(response) == ("content_block_stop", {"type": "content_block_stop", "index": 0})
            await provider.chunk(frame, "[DONE]", done=True)
            await response.read()


async def test_a_whole_answer_to_a_stream_becomes_a_stream(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(open_stream(broker))
        frame = await provider.next()
        calls = [{"function": {"name": "a", "arguments": "{}"}}, {"function": {"name": "b", "arguments": "{}"}}]
        await provider.answer(frame, completion("tool_calls", content="hi", tool_calls=calls))
        async with await opening as response:
            said = events(await response.read())
    assert texts(said) == "hi" and said[-1][0] == "message_stop" and said[-2][1]["usage"]["output_tokens"] == 3
    assert [data["content_block"].get("name") for name, data in said if name == "content_block_start"] == [None, "a", "b"]


async def test_pings_keep_a_waiting_stream_alive_and_a_later_refusal_is_an_event(redis_real):
    async with replica(redis_real, comment_first_seconds=0.05, comment_every_seconds=0.05) as broker:
        async with Provider(broker, "m") as provider:
            opening = asked(open_stream(broker))
            frame = await provider.next()
            async with await opening as response:
                for _ in range(3):
                    assert await event_of(response) == ("ping", {"type": "ping"})
                await provider.fail(frame, "it broke")
                name, data = [one for one in events(await response.read()) if one[0] != "ping"][0]
    assert name == "error" and data["error"]["message"] == "it broke" and data["error"]["type"] == "api_error"
    assert data["request_id"].startswith("req_")


async def test_without_wait_comments_a_late_refusal_keeps_its_status(redis_real):
    async with replica(redis_real, comment_first_seconds=0.02, queue_wait_seconds=0.2) as broker:
        async with Provider(broker, "m", slots=1) as provider:
            first = asked(broker.chat("m"))
            frame = await provider.next()
            async with open_stream(broker, headers={"X-Wait-Comments": "off"}) as response:
                answer = await response.json()
            assert response.status == 503 and answer["error"]["type"] == "overloaded_error"
            assert answer["error"]["details"]["error_code"] == "queue_timeout"
            await provider.answer(frame)
            await first


async def test_a_stream_that_breaks_midway_ends_in_an_error_event(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(open_stream(broker))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="a"))
        async with await opening as response:
            await event_of(response)
            await provider.fail(frame, "the backend closed the stream", "backend_error")
            said = events(await response.read())
    assert said[-1][0] == "error" and "message_stop" not in [name for name, _ in said]


@pytest.mark.parametrize("said", ["no json", "[]", '{"choices": 1}', '{"choices":[{"delta":{"tool_calls":[{}]}}]}', "[" * 3000])
async def test_a_stream_that_is_no_chat_completion_ends_in_an_error_event(redis_real, said):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(open_stream(broker))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="a"))
        async with await opening as response:
            for _ in range(3):
                await event_of(response)
            await provider.chunk(frame, said)
            name, data = await event_of(response)
            assert name == "content_block_stop" or name == "error"
            assert data["error"]["details"]["error_code"] == "backend_error"
            await provider.next("cancel")
            await provider.fail(frame, "stopped")


async def test_an_error_that_the_backend_streams_is_an_error_event(redis_real):
    said = await streamed(redis_real, chunk(content="a"), json.dumps({"error": {"message": "oom", "code": 500}}))
    assert said[-1][1]["error"] == {"type": "api_error", "message": "oom"}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (404, "not_found_error"), (429, "rate_limit_error"), (500, "api_error")]
)
async def test_a_backends_refusal_keeps_its_status_in_anthropics_shape(redis_real, status, kind, streaming):
    _, given_status, answer, headers = await relayed(
        redis_real, {"error": {"message": "no", "code": "x"}}, status=status, more={"headers": {"Retry-After": "7"}}, stream=streaming
    )
    assert given_status == status and answer["type"] == "error" and headers["Retry-After"] == "7"
    assert answer["error"] == {"type": kind, "message": "no", "details": {"error_code": "x"}}
    assert answer["request_id"] == headers["request-id"]


async def test_a_backends_refusal_as_a_stream_is_a_refusal_all_the_same(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking_ = asked(broker.call("POST", PATH, asking(stream=True)))
        frame = await provider.next()
        await provider.result(frame, {"status": 418, "headers": {"content-type": "text/event-stream"}})
        await provider.chunk(frame, "no tea", done=True)
        status, answer, _ = await asking_
    assert status == 418 and answer["type"] == "error" and "no tea" in answer["error"]["message"]


@pytest.mark.parametrize("said", ["plain text", {"error": "plain"}, {"detail": 1}, [], None])
async def test_a_backends_refusal_in_any_shape_has_a_message(redis_real, said):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking_ = asked(broker.call("POST", PATH, asking()))
        await provider.result(await provider.next(), {"status": 418, "body": said})
        status, answer, _ = await asking_
    assert status == 418 and answer["error"]["message"]


@pytest.mark.parametrize("said", [{"choices": []}, {}, [1], "text", completion(tool_calls=[{"function": {"name": "f", "arguments": "{"}}])])
async def test_an_answer_that_is_no_completion_is_502(redis_real, said):
    _, status, answer, _ = await relayed(redis_real, said)
    assert status == 502 and answer["error"]["details"]["error_code"] == "backend_error"


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]}, "messages"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"mcp_servers": [{"type": "url", "url": "https://example.com"}]}, "mcp_servers"),
        ({"max_tokens": "many"}, "max_tokens"),
    ],
)
async def test_what_cannot_be_said_is_refused_by_name(redis_real, body, where):
    async with replica(redis_real) as broker, Provider(broker, "m"):
        for path in (PATH, f"{PATH}/count_tokens"):
            status, answer, headers = await broker.call("POST", path, asking(**body))
            assert status == 400 and answer["error"]["type"] == "invalid_request_error" and where in answer["error"]["message"]
            assert headers["request-id"] == answer["request_id"]


async def test_what_is_not_utf8_is_refused_wherever_it_stands(redis_real):
    body = json.dumps(asking(tools=[{**TOOL, "input_schema": {"description": "HERE"}}])).encode().replace(b"HERE", b"\xff")
    async with replica(redis_real) as broker, Provider(broker, "m"):
        status, answer, _ = await broker.call("POST", PATH, body)
        assert status == 400 and "UTF-8" in answer["error"]["message"]


async def test_an_unknown_model_is_not_found_and_an_alias_is(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", aliases=["claude-x"]) as provider:
        for path in (PATH, f"{PATH}/count_tokens"):
            status, answer, _ = await broker.call("POST", path, asking("nobody"))
            assert status == 404 and answer["error"]["type"] == "not_found_error" and "nobody" in answer["error"]["message"]
        asking_ = asked(broker.call("POST", PATH, asking("claude-x"), headers={"anthropic-version": "2023-06-01"}))
        frame = await provider.next()
        assert frame["llmName"] == "m"
        await provider.answer(frame, completion(content="x"))
        assert (await asking_)[1]["model"] == "claude-x"


async def test_the_key_may_come_as_x_api_key(redis_real):
    async with tokens(redis_real, someone="client", owner="publisher") as given, replica(redis_real) as broker:
        status, answer, headers = await broker.call("POST", PATH, asking("nobody"), headers={"x-api-key": given.someone})
        assert status == 404
        status, answer, headers = await broker.call("POST", PATH, asking("nobody"), headers={"x-api-key": "sk-other"})
        assert status == 401 and answer["error"]["type"] == "authentication_error" and headers["request-id"]
        assert (await broker.call("POST", PATH, asking("nobody"), headers=bearer(given.owner)))[1]["error"]["type"] == "permission_error"


async def test_a_client_that_leaves_cancels_its_message(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(open_stream(broker))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="a"))
        (await opening).close()
        assert (await provider.next("cancel", 1.0))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")


async def test_a_deadline_is_a_timeout_error(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        status, answer, _ = await broker.call("POST", PATH, asking(), headers={"X-Deadline-Seconds": "0.1"})
        assert status == 504 and answer["error"]["type"] == "timeout_error"
        frame = await provider.next()
        await provider.next("cancel")
        await provider.fail(frame, "stopped")


async def test_tokens_are_counted_about(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m"):
        async def count(**body) -> int:
            status, answer, _ = await broker.call("POST", f"{PATH}/count_tokens", {"model": "m", "messages": HELLO, **body})
            assert status == 200 and answer["estimate"] is True
            return answer["input_tokens"]

        little = await count()
        assert 1 <= little < 20
        assert await count(messages=[{"role": "user", "content": "x" * 4000}]) in range(1000, 1020)
        assert await count(tools=[TOOL]) > little
        assert await count(messages=[{"role": "user", "content": [{"type": "image", "source": PICTURE}]}]) in range(1600, 1620)


STREAM = b"".join(
    b"data: %s\n\n" % one.encode()
    for one in (chunk(reasoning_content="hm€"), chunk(content="tök€n 🐈"), chunk(tool_calls=[call_piece(0, "c", "f", '{"ä":1}')]),
                chunk("tool_calls"), usage_chunk(3, 4), "[DONE]")
)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=30), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_says_the_same_however_it_is_cut(cuts, line_end):
    def said(stream: bytes, places: list[int]) -> bytes:
        writer = EventWriter("req_1", "m", [])
        places = [0, *sorted(places), len(stream)]
        return b"".join([writer.say(stream[a:b]) for a, b in zip(places, places[1:], strict=False)]) + writer.close()

    assert said(STREAM.replace(b"\n", line_end), cuts) == said(STREAM, [])
    events(said(STREAM, []))
