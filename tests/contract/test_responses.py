"""OpenAI's Responses front: what its clients send and get, on the wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from openai._types import omit
from pydantic import TypeAdapter

from broker.dialects.broken import BrokenAnswer
from broker.dialects.responses_stream import EventWriter
from tests.support.brokers import replica
from tests.support.messages import call_piece, chunk, completion, usage_chunk
from tests.support.provider import Provider
from tests.support.responses import PATH, asking, events, respond, streamed
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens

TOOL = {"type": "function", "name": "look_up", "description": "looks up", "parameters": {"type": "object", "properties": {}}, "strict": True}
PICTURE = "data:image/png;base64,iVBORw0KGgo="
_EVENT = TypeAdapter(ResponseStreamEvent)


def accepted(said: list[dict]) -> Response:
    """The response that OpenAI's SDK makes of these events; each has to be what its types say."""
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in said:
        state.handle_event(_EVENT.validate_python(event))
    return state._completed_response


async def test_a_response_goes_out_as_a_chat_and_its_answer_comes_back_as_a_response(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        sent, status, answer = await respond(
            broker, provider, completion(content="hi", reasoning_content="hm"), instructions="be kind", temperature=0.5, top_p=0.9,
            max_output_tokens=50, reasoning={"effort": "low"}, text={"verbosity": "low", "format": {"type": "json_object"}},
            metadata={"a": "b"}, user="u1", prompt_cache_key="k", include=["reasoning.encrypted_content"],
        )
        assert sent == {
            "model": "m", "stream": False, "max_tokens": 50, "temperature": 0.5, "top_p": 0.9, "reasoning_effort": "low",
            "verbosity": "low", "response_format": {"type": "json_object"}, "user": "u1",
            "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}],
        }
        assert status == 200
        response = Response.model_validate(answer)
        assert response.status == "completed" and response.output_text == "hi" and response.metadata == {"a": "b"}
        assert [item.type for item in response.output] == ["reasoning", "message"]
        assert answer["output"][0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
        assert response.usage.input_tokens == 7 and response.usage.total_tokens == 10
        status, stored, _ = await broker.call("GET", f"{PATH}/{answer['id']}")
        assert (status, stored) == (200, answer)


async def test_every_item_of_a_conversation_has_its_place_in_the_chat(redis_real):
    conversation = [
        {"role": "developer", "content": "be short"},
        {"role": "user", "content": [{"type": "input_text", "text": "what is it?"}, {"type": "input_image", "image_url": PICTURE, "detail": "low"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look", "annotations": []}]},
        {"type": "function_call", "call_id": "t1", "name": "look_up", "arguments": '{"q":"ä"}'},
        {"type": "function_call", "call_id": "t2", "name": "look_up", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "t1", "output": [{"type": "input_image", "image_url": PICTURE}]},
        {"type": "function_call_output", "call_id": "t2", "output": "a cat"},
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": [{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}]},
    ]
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        sent, status, _ = await respond(broker, provider, completion(content="ok"), given=conversation, tools=[TOOL], tool_choice="auto",
                                        parallel_tool_calls=False)
    assert status == 200
    call = {"id": "t1", "type": "function", "function": {"name": "look_up", "arguments": '{"q":"ä"}'}}
    assert sent["messages"] == [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]},
        {"role": "assistant", "content": "I look", "tool_calls": [call, {**call, "id": "t2", "function": {"name": "look_up", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "(see the attachment in the next message)"},
        {"role": "tool", "tool_call_id": "t2", "content": "a cat"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]},
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}]},
    ]
    function = {key: TOOL[key] for key in ("name", "description", "parameters", "strict")}
    assert sent["tools"] == [{"type": "function", "function": function}]
    assert sent["tool_choice"] == "auto" and sent["parallel_tool_calls"] is False


async def test_a_stream_has_the_events_that_openais_sdk_knows_numbered_without_a_gap(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        said = events(await streamed(
            broker, provider, chunk(reasoning_content="h"), chunk(reasoning_content="m"), chunk(content="a"), chunk(content="b"),
            chunk(tool_calls=[call_piece(0, "c1", "look_up", '{"q"')]), chunk(tool_calls=[call_piece(0, arguments=':1}')]),
            chunk(tool_calls=[call_piece(1, "c2", "look_up")]), chunk("tool_calls"), usage_chunk(7, 3, 2), tools=[TOOL],
        ))
        kinds = [event["type"].removeprefix("response.") for event in said]
        words = ["content_part.added", "{0}.delta", "{0}.delta", "{0}.done", "content_part.done", "output_item.done"]
        assert kinds == [
            "created", "in_progress", "output_item.added", *[word.format("reasoning_text") for word in words],
            "output_item.added", *[word.format("output_text") for word in words],
            "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta", "function_call_arguments.done",
            "output_item.done", "output_item.added", "function_call_arguments.done", "output_item.done", "completed",
        ]
        assert [event["sequence_number"] for event in said] == list(range(len(said)))
        response = accepted(said)
        assert response.output_text == "ab" and [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
        assert [(call.call_id, call.arguments) for call in response.output[2:]] == [("c1", '{"q":1}'), ("c2", "{}")]
        assert response.usage.input_tokens_details.cached_tokens == 2
        _, stored, _ = await broker.call("GET", f"{PATH}/{response.id}")
        assert stored == said[-1]["response"]


async def test_a_response_goes_on_from_the_one_before_at_any_replica(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as other, Provider(one, "m") as provider:
        _, _, first = await respond(one, provider, completion(content="hi Ann"), given="I am Ann", instructions="be kind")
        said = events(await streamed(other, provider, chunk("stop", content="Ann"), given="who am I?", previous_response_id=first["id"]))
        second = said[-1]["response"]
        sent, _, third = await respond(one, provider, completion(content="bye"), given="bye", previous_response_id=second["id"])
        assert [(message["role"], message["content"]) for message in sent["messages"]] == [
            ("user", "I am Ann"), ("assistant", "hi Ann"), ("user", "who am I?"), ("assistant", "Ann"), ("user", "bye"),
        ]
        assert third["previous_response_id"] == second["id"] and third["instructions"] is None
        _, listed, _ = await other.call("GET", f"{PATH}/{third['id']}/input_items")
        assert [item["content"][0]["text"] for item in listed["data"]] == ["bye", "Ann", "who am I?", "hi Ann", "I am Ann"]
        _, page, _ = await other.call("GET", f"{PATH}/{third['id']}/input_items?order=asc&limit=2&after={listed['last_id']}")
        assert [item["content"][0]["text"] for item in page["data"]] == ["hi Ann", "who am I?"] and page["has_more"]


async def test_what_was_deleted_or_not_stored_is_not_gone_on_from(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        _, _, kept = await respond(broker, provider, completion(content="a"))
        _, _, passing = await respond(broker, provider, completion(content="b"), store=False)
        assert await redis_at.read(f"response:{kept['id']}") and passing["store"] is False
        status, gone, _ = await broker.call("DELETE", f"{PATH}/{kept['id']}")
        assert (status, gone["deleted"]) == (200, True) and await redis_at.read(f"response:{kept['id']}") is None
        for response in (kept["id"], passing["id"]):
            status, body, _ = await broker.call("GET", f"{PATH}/{response}")
            assert (status, body["error"]["code"]) == (404, "unknown_response")
            status, body, _ = await broker.call("POST", PATH, asking(previous_response_id=response))
            assert (status, body["error"]["code"], body["error"]["param"]) == (400, "previous_response_not_found", "previous_response_id")
            assert response in body["error"]["message"]


async def test_responses_are_their_owners_alone(redis_at):
    async with tokens(redis_at, ann="client+publisher", bob="client") as made, replica(redis_at) as broker:
        ann, bob = bearer(made.ann), bearer(made.bob)
        async with Provider(broker, "m", token=made.ann) as provider:
            _, _, mine = await respond(broker, provider, completion(content="a"), headers=ann)
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items")):
            status, body, _ = await broker.call(method, f"{PATH}/{mine['id']}{path}", headers=bob)
            assert (status, body["error"]["code"]) == (404, "unknown_response"), (method, path)
        assert (await broker.call("GET", f"{PATH}/{mine['id']}", headers=ann))[0] == 200


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"), ({"tools": [TOOL, {"type": "mcp", "server_label": "x"}]}, "tools[1].type"),
        ({"given": [{"type": "item_reference", "id": "x"}]}, "input[0]"), ({"given": None}, "input"), ({"model": None}, "model"),
        ({"given": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
        ({"given": [{"role": "user", "content": "x"}, {"role": "king", "content": "x"}]}, "input[1].role"),
        ({"conversation": "conv_1"}, "conversation"), ({"prompt": {"id": "p"}}, "prompt"), ({"truncation": "auto"}, "truncation"),
        ({"background": True, "store": False}, "store"), ({"metadata": {"a": "b" * 513}}, "metadata"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"), ({"top_logprobs": 2}, "top_logprobs"),
    ],
)
async def test_what_no_chat_can_say_is_refused_by_its_name(redis_real, more, param):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        status, body, _ = await broker.call("POST", PATH, asking(**more))
        assert status == 400 and body["error"]["param"] == param, body
        assert provider.frames.empty()


async def test_an_llms_refusal_is_openais_and_nothing_is_stored(redis_at):
    refusal = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded", "param": "messages"}}
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        for streaming in (False, True):
            asking_ = asked(broker.call("POST", PATH, asking(stream=streaming)))
            await provider.answer(await provider.next(), refusal, status=400)
            status, body, _ = await asking_
            assert (status, body) == (400, refusal)
        assert not [key for key in await redis_at.keys() if key.startswith(b"response:")]


async def test_a_stream_that_breaks_ends_as_a_failed_response_with_what_was_said(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:

        async def read() -> bytes:
            async with broker.http.post(broker.url + PATH, json=asking(stream=True)) as response:
                return await response.read()

        reading = asked(read())
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="half"))
        await provider.fail(frame, "the backend died")
        said = events(await reading)
        accepted(said)
        assert said[-1]["type"] == "response.failed" and said[-2]["item"]["status"] == "incomplete"
        failed = said[-1]["response"]
        assert failed["error"] == {"code": "server_error", "message": "the backend died", "type": "backend_error"}
        assert failed["output"][0]["content"][0]["text"] == "half" and failed["status"] == "failed"
        assert (await broker.call("GET", f"{PATH}/{failed['id']}"))[1] == failed


async def test_an_answer_that_is_cut_is_incomplete_and_says_why(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        said = events(await streamed(broker, provider, chunk("length", content="half")))
        accepted(said)
        assert said[-1]["type"] == "response.incomplete"
        assert said[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
        _, _, answer = await respond(broker, provider, completion("content_filter", content="half"))
        assert answer["status"] == "incomplete" and answer["incomplete_details"] == {"reason": "content_filter"}


async def test_an_idempotent_response_is_made_once_and_is_the_same_again(redis_at):
    key = {"Idempotency-Key": "k1"}
    async with replica(redis_at) as one, replica(redis_at) as other, Provider(one, "m") as provider:
        began = json.dumps({**json.loads(chunk(content="a")), "created": 1_700_000_000})
        first = await streamed(one, provider, began, chunk("stop", content="b"), usage_chunk(1, 2), headers=key)
        async with other.http.post(other.url + PATH, json=asking(stream=True), headers=key) as response:
            assert response.headers["Idempotency-Replayed"] == "true"
            assert await response.read() == first
        assert provider.frames.empty()
        assert accepted(events(first)).created_at == 1_700_000_000


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_events_and_their_numbers_do_not_depend_on_how_the_answer_arrives(data):
    pieces = [chunk(tool_calls=[call_piece(7, arguments="torn")]), chunk(content="a"), chunk(reasoning_content="ü"),
              chunk(content="€"), chunk(tool_calls=[call_piece(0, "c", "f", "{}")]), chunk(refusal="no"), chunk("stop"), usage_chunk(1, 2)]
    chosen = data.draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=12))
    body = "".join(f"data: {one}\n\n" for one in chosen).encode() + b"data: [DONE]\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    shell = {"id": "resp_1", "created_at": 1, "background": False, "model": "m", "object": "response", "status": "in_progress",
             "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}

    def write(edges: list[int], after: int = -1) -> bytes:
        writer, said = EventWriter({**shell, "output": []}, after=after), b""
        try:
            for start, end in zip([0, *edges], [*edges, len(body)], strict=True):
                said += writer.say(body[start:end])
            return said + writer.close()
        except BrokenAnswer:
            return said + writer.fail(502, {"message": "broken"})

    whole = write([])
    assert write(cuts) == whole
    said = events(whole)
    accepted(said)
    after = data.draw(st.integers(-1, len(said)))
    rest = write(cuts, after)
    assert (events(rest) if rest else []) == said[after + 1 :] and whole.endswith(rest)
    json.dumps(said)
