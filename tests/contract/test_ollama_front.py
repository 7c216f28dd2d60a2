"""The Ollama front: what its clients send and get, on the wire."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.dialects.ollama_answer import LineWriter
from tests.support.brokers import replica
from tests.support.messages import HELLO, call_piece, chunk, completion, usage_chunk
from tests.support.provider import Provider
from tests.support.rows import put_public_llm
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens

LINES = "application/x-ndjson"
DURATIONS = {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
PNG = "iVBORw0KGgo="


async def relayed(place, path: str, said: object, *, status: int = 200, more: dict | None = None, **body):
    """(request that the LLM got, status, answer) of one call that it answers with ``said``."""
    async with replica(place) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.call("POST", path, {"model": "m", **body}))
        frame = await provider.next()
        await provider.answer(frame, said, status=status, **(more or {}))
        given_status, answer, headers = await asking
        assert headers["Content-Type"].startswith((LINES, "application/json")), headers
        return frame, given_status, answer


async def streamed(place, path: str, *chunks: str, **body) -> list[dict]:
    async with replica(place) as broker, Provider(broker, "m") as provider:
        opening = asked(broker.http.post(broker.url + path, json={"model": "m", **body}))
        frame = await provider.next()
        assert frame["streaming"] is True and frame["request"]["stream_options"] == {"include_usage": True}
        for one in chunks:
            await provider.chunk(frame, one)
        await provider.chunk(frame, "[DONE]", done=True)
        async with await opening as response:
            assert response.status == 200 and response.content_type == LINES
            return lines(await response.read())


def lines(body: bytes) -> list[dict]:
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body.split(b"\n")[:-1]]


async def test_a_chat_streams_unless_told_otherwise(redis_at):
    said = await streamed(
        redis_at, "/api/chat", chunk(role="assistant", content=""), chunk(reasoning_content="hm"), chunk(content="tök"),
        chunk(content="€n"), chunk("length"), usage_chunk(9, 4), messages=HELLO,
    )
    assert [line["message"] for line in said] == [
        {"role": "assistant", "content": "", "thinking": "hm"}, {"role": "assistant", "content": "tök"},
        {"role": "assistant", "content": "€n"}, {"role": "assistant", "content": ""},
    ]
    assert [line["done"] for line in said] == [False, False, False, True]
    assert all(line["model"] == "m" and line["created_at"].endswith("Z") for line in said)
    end = said[-1]
    assert end["done_reason"] == "length" and end["prompt_eval_count"] == 9 and end["eval_count"] == 4
    assert DURATIONS <= set(end) and all(isinstance(end[name], int) and end[name] >= 0 for name in DURATIONS)
    assert end["total_duration"] == pytest.approx(end["load_duration"] + end["prompt_eval_duration"] + end["eval_duration"], abs=10)


async def test_durations_are_measured(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m"))
        first_frame = await provider.next()
        asking = asked(broker.call("POST", "/api/chat", {"model": "m", "messages": HELLO, "stream": False}))
        await asyncio.sleep(0.15)
        await provider.answer(first_frame)
        frame = await provider.next()
        await asyncio.sleep(0.1)
        await provider.answer(frame, completion(content="x"))
        _, answer, _ = await asking
        await first
    assert answer["load_duration"] >= 100_000_000 and answer["eval_duration"] >= 90_000_000
    assert answer["total_duration"] >= 200_000_000


async def test_a_whole_chat(redis_at):
    calls = [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"q":"ä"}'}}]
    frame, status, answer = await relayed(
        redis_at, "/api/chat", completion("tool_calls", content=None, tool_calls=calls), messages=HELLO, stream=False, tools=[TOOL],
        keep_alive="5m", think=False, format={"type": "object"},
        options={"num_predict": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": 3, "stop": ["END"],
                 "presence_penalty": 0.1, "frequency_penalty": 0.2, "repeat_penalty": 1.1, "num_ctx": 4096},
    )
    assert frame["operation"] == "chat" and frame["request"] == {
        "model": "m", "stream": False, "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": 3,
        "stop": ["END"], "presence_penalty": 0.1, "frequency_penalty": 0.2, "repeat_penalty": 1.1, "reasoning_effort": "none",
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}},
        "messages": HELLO, "tools": [TOOL],
    }
    assert status == 200 and answer["done"] is True and answer["done_reason"] == "stop"
    assert answer["message"] == {
        "role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "look_up", "arguments": {"q": "ä"}}}],
    }
    assert answer["prompt_eval_count"] == 7 and answer["eval_count"] == 3 and DURATIONS <= set(answer)


@pytest.mark.parametrize(("given", "asked_for"), [(-1, None), (-2, None), (0, None), (5, 5)])
async def test_num_predict_below_one_is_no_limit(redis_real, given, asked_for):
    frame, _, _ = await relayed(
        redis_real, "/api/chat", completion(content="x"), messages=HELLO, stream=False, options={"num_predict": given}, format="json"
    )
    assert frame["request"].get("max_tokens") == asked_for and frame["request"]["response_format"] == {"type": "json_object"}


async def test_a_conversation_with_tools_and_images_gets_ids(redis_real):
    calls = [{"function": {"name": "a", "arguments": {"x": 1}}}, {"function": {"name": "b", "arguments": {}}}]
    conversation = [
        {"role": "user", "content": "what is it?", "images": [PNG, "/9j/4AAQ"]},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "of b", "tool_name": "b"},
        {"role": "tool", "content": "of a"},
    ]
    frame, _, _ = await relayed(redis_real, "/api/chat", completion(content="x"), messages=conversation, stream=False)
    user, assistant, *answers = frame["request"]["messages"]
    assert user["content"] == [
        {"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ"}},
    ]
    assert [(call["id"], call["function"]) for call in assistant["tool_calls"]] == [
        ("call_0", {"name": "a", "arguments": '{"x":1}'}), ("call_1", {"name": "b", "arguments": "{}"}),
    ]
    assert [answer["tool_call_id"] for answer in answers] == ["call_1", "call_0"]


async def test_streamed_tool_calls_come_when_they_are_complete(redis_real):
    said = await streamed(
        redis_real, "/api/chat", chunk(tool_calls=[call_piece(0, "c1", "a", '{"x"')]), chunk(tool_calls=[call_piece(1, "c2", "b")]),
        chunk(tool_calls=[call_piece(0, arguments=":1}")]), chunk("tool_calls"), messages=HELLO, tools=[TOOL],
    )
    assert [line["message"].get("tool_calls") for line in said] == [
        [{"id": "c1", "function": {"name": "a", "arguments": {"x": 1}}}, {"id": "c2", "function": {"name": "b", "arguments": {}}}], None,
    ]


async def test_generate_is_a_chat_of_one_prompt(redis_real):
    said = await streamed(redis_real, "/api/generate", chunk(content="a"), chunk("stop"), prompt="p", system="s")
    assert [line["response"] for line in said] == ["a", ""] and said[-1]["done_reason"] == "stop"


async def test_a_whole_answer_to_a_prompt(redis_real):
    frame, _, answer = await relayed(
        redis_real, "/api/generate", completion(content="x", reasoning_content="hm"), prompt="p", system="s", images=[PNG], stream=False
    )
    assert answer["response"] == "x" and answer["thinking"] == "hm" and "message" not in answer
    assert [message["role"] for message in frame["request"]["messages"]] == ["system", "user"]


@pytest.mark.parametrize("more", [{"raw": True}, {"suffix": "end"}])
async def test_a_raw_prompt_is_a_plain_completion(redis_real, more):
    said = {"choices": [{"text": "x", "finish_reason": "stop"}]}
    frame, _, answer = await relayed(redis_real, "/api/generate", said, prompt="p", stream=False, **more)
    assert frame["operation"] == "completions" and frame["request"]["prompt"] == "p" and answer["response"] == "x"
    assert frame["request"].get("suffix") == more.get("suffix") and "eval_count" not in answer


async def test_a_raw_prompt_streams_too(redis_real):
    pieces = [json.dumps({"choices": [{"text": text}]}) for text in ("a", "b")]
    lines_ = await streamed(redis_real, "/api/generate", *pieces, prompt="p", raw=True)
    assert [line["response"] for line in lines_] == ["a", "b", ""]


async def test_embeddings(redis_at):
    said = {"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 5}}
    frame, status, answer = await relayed(redis_at, "/api/embed", said, input=["a", "b"], truncate=True, dimensions=1)
    assert frame["operation"] == "embeddings"
    assert frame["request"] == {"model": "m", "input": ["a", "b"], "encoding_format": "float", "dimensions": 1}
    assert status == 200 and answer["embeddings"] == [[1.0], [2.0]] and answer["prompt_eval_count"] == 5
    assert answer["model"] == "m" and answer["total_duration"] > 0


async def test_the_older_embedding_call_gets_one_vector(redis_real):
    frame, _, answer = await relayed(redis_real, "/api/embeddings", {"data": [{"embedding": "AACAPw=="}]}, prompt="a")
    assert frame["request"]["input"] == "a" and answer == {"embedding": [1.0]}


@pytest.mark.parametrize("said", [{}, {"data": 1}, {"data": [1]}, [], "x", {"data": [{}]}])
@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])
async def test_what_is_no_embedding_is_502(redis_real, path, said):
    _, status, answer = await relayed(redis_real, path, said, input="a")
    assert status == 502 and "embedding" in answer["error"]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_a_backends_refusal_keeps_its_status_in_ollamas_shape(redis_real, path, streaming):
    _, status, answer = await relayed(
        redis_real, path, {"error": {"message": "no", "code": "x"}}, status=418, messages=HELLO, prompt="p", stream=streaming
    )
    assert status == 418 and answer == {"error": "no", "code": "x"}


async def test_a_whole_answer_to_a_stream_becomes_lines(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(broker.http.post(broker.url + "/api/chat", json={"model": "m", "messages": HELLO}))
        await provider.answer(await provider.next(), completion(content="hi"))
        async with await opening as response:
            said = lines(await response.read())
    assert [line["message"]["content"] for line in said] == ["hi", ""] and said[-1]["eval_count"] == 3


async def test_lines_without_content_keep_a_waiting_stream_alive(redis_real):
    async with replica(redis_real, comment_first_seconds=0.05, comment_every_seconds=0.05) as broker:
        async with Provider(broker, "m") as provider:
            opening = asked(broker.http.post(broker.url + "/api/chat", json={"model": "m", "messages": HELLO}))
            frame = await provider.next()
            async with await opening as response, asyncio.timeout(20):
                for _ in range(3):
                    line = json.loads(await response.content.readline())
                    assert line["message"] == {"role": "assistant", "content": ""} and line["done"] is False
                await provider.fail(frame, "it broke")
                assert lines(await response.read())[-1] == {"error": "it broke", "code": "backend_error"}


async def test_a_stream_that_breaks_midway_ends_in_an_error_line(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(broker.http.post(broker.url + "/api/chat", json={"model": "m", "messages": HELLO}))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="a"))
        async with await opening as response:
            await response.content.readline()
            await provider.fail(frame, "cut off")
            said = lines(await response.read())
    assert said == [{"error": "cut off", "code": "backend_error"}]


@pytest.mark.parametrize("odd", ["no json", json.dumps({"error": {"message": "oom"}}), chunk("tool_calls", tool_calls=[call_piece(0, "c", "f", "{")])])
async def test_what_cannot_be_said_ends_in_an_error_line(redis_real, odd):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(broker.http.post(broker.url + "/api/chat", json={"model": "m", "messages": HELLO}))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="a"))
        async with await opening as response:
            await response.content.readline()
            await provider.chunk(frame, odd)
            assert "error" in json.loads(await response.content.readline())
            await provider.fail(frame, "stopped")
            assert await response.read() == b""


async def test_a_name_may_be_said_with_latest_or_without(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "plain", "tagged:latest", aliases=["nick"]) as provider:
        said = {"plain": "plain", "plain:latest": "plain", "tagged": "tagged:latest", "tagged:latest": "tagged:latest", "nick:latest": None}
        for name, llm in said.items():
            asking = asked(broker.call("POST", "/api/chat", {"model": name, "messages": HELLO, "stream": False}))
            frame = await provider.next()
            assert frame["llmName"] == llm or llm is None
            await provider.answer(frame, completion(content="x"))
            assert (await asking)[1]["model"] == name
            assert (await broker.call("POST", "/api/show", {"model": name}))[0] == 200
        for path, body in (("/api/chat", {"messages": HELLO}), ("/api/generate", {"prompt": "p"}), ("/api/embed", {"input": "a"}),
                           ("/api/show", {}), ("/api/chat", {}), ("/api/generate", {})):
            status, answer, _ = await broker.call("POST", path, {"model": "nobody:7b", **body})
            assert status == 404 and "nobody:7b" in answer["error"] and answer["code"] == "model_not_found"


async def test_a_request_without_a_prompt_loads_nothing_and_says_load(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", initialStatus="hibernating") as provider:
        for path, body in (("/api/chat", {"messages": []}), ("/api/generate", {"keep_alive": 0}), ("/api/generate", {"prompt": ""})):
            status, answer, _ = await broker.call("POST", path, {"model": "m", **body})
            assert status == 200 and answer["done"] is True and answer["done_reason"] == "load"
        assert provider.frames.empty()


async def test_listings_show_our_rows(redis_real):
    await put_public_llm(redis_real, "pub", url="https://example.com")
    async with replica(redis_real) as broker, Provider(broker, "m", extraConfig={"capabilities": ["embedding"], "contextLength": 8192}):
        async with Provider(broker, "asleep", initialStatus="hibernating"):
            status, answer, _ = await broker.call("GET", "/api/tags")
            assert status == 200 and [model["name"] for model in answer["models"]] == ["asleep", "m", "pub"]
            assert {"model", "modified_at", "size", "digest", "details"} <= set(answer["models"][0])
            assert len({model["digest"] for model in answer["models"]}) == 3 and answer["models"][0]["status"] == "hibernating"
            _, answer, _ = await broker.call("GET", "/api/ps")
            assert [model["name"] for model in answer["models"]] == ["m", "pub"]
            _, answer, _ = await broker.call("POST", "/api/show", {"name": "m"})
            assert answer["capabilities"] == ["embedding"] and answer["model_info"]["openai.context_length"] == 8192
            _, answer, _ = await broker.call("POST", "/api/show", {"model": "asleep"})
            assert answer["capabilities"] == ["completion", "tools"] and answer["model_info"]["general.architecture"] == "openai"
            assert (await broker.call("POST", "/api/show", {}))[0] == 400
            assert (await broker.call("GET", "/api/version"))[1]["version"].count(".") == 2


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/api/chat", {"messages": HELLO, "format": "xml"}, "format"),
        ("/api/chat", {"messages": HELLO, "options": {"temperature": "hot"}}, "options.temperature"),
        ("/api/generate", {"prompt": "p", "template": "{{ .Prompt }}"}, "template"),
        ("/api/generate", {"prompt": "p", "context": [1, 2]}, "context"),
        ("/api/generate", {"prompt": "p", "raw": True, "images": [PNG]}, "images"),
        ("/api/embed", {"input": 5}, "input"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(redis_real, path, body, where):
    async with replica(redis_real) as broker, Provider(broker, "m"):
        status, answer, _ = await broker.call("POST", path, {"model": "m", **body})
        assert status == 400 and where in answer["error"]


async def test_who_may_call(redis_real):
    async with tokens(redis_real, someone="client", owner="publisher") as given_, replica(redis_real) as broker:
        for token, status in ((None, 401), (given_.owner, 403), (given_.someone, 404)):
            body = {"model": "nobody", "messages": HELLO}
            told = await broker.call("POST", "/api/chat", body, headers=bearer(token))
            assert told[0] == status and isinstance(told[1]["error"], str)


async def test_what_no_route_answers_is_404_in_ollamas_shape(redis_real):
    async with replica(redis_real) as broker:
        status, answer, _ = await broker.call("POST", "/api/pull", {"model": "m"})
        assert status == 404 and "/api/pull" in answer["error"]


async def test_a_client_that_leaves_cancels_its_chat(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(broker.http.post(broker.url + "/api/chat", json={"model": "m", "messages": HELLO}))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="a"))
        (await opening).close()
        assert (await provider.next("cancel", 1.0))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")


STREAM = b"".join(
    b"data: %s\n\n" % one.encode()
    for one in (chunk(reasoning_content="hm€"), chunk(content="tök€n 🐈"), chunk(tool_calls=[call_piece(0, "c", "f", '{"ä":1}')]),
                chunk("tool_calls"), usage_chunk(3, 4), "[DONE]")
)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=30), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_says_the_same_however_it_is_cut(cuts, line_end):
    def said(stream: bytes, places: list[int]) -> list[dict]:
        writer = LineWriter("m", lambda: {"total_duration": 1}, chatting=True)
        places = [0, *sorted(places), len(stream)]
        text = b"".join([writer.say(stream[a:b]) for a, b in zip(places, places[1:], strict=False)]) + writer.close()
        return [{**line, "created_at": ""} for line in lines(text)]

    assert said(STREAM.replace(b"\n", line_end), cuts) == said(STREAM, [])
