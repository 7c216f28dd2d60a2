"""What an OpenAI request becomes on an Anthropic server's wire, and what is refused before."""

from __future__ import annotations

import json

import pytest

from broker.dialects.anthropic_request import asked_of
from tests.publisher.backends.anthropic_asking import refused, request

PNG = "data:image/png;base64,iVBORw0KGgo="


def turns(*messages: dict) -> list[dict]:
    return request(messages=list(messages))["messages"]


def words(text: str) -> dict:
    return {"type": "text", "text": text}


def call(call_id: str, name: str = "f", arguments: str = "{}") -> dict:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_the_least_request_gets_what_the_api_demands():
    assert request() == {
        "model": "m", "max_tokens": 4096, "stream": False, "messages": [{"role": "user", "content": [words("hi")]}]
    }


def test_system_and_developer_messages_come_first_wherever_they_were():
    asked = request(messages=[
        {"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"},
        {"role": "developer", "content": [words("be"), words(""), words("brief")]},
    ])
    assert asked["system"] == "be kind\n\nbe\n\nbrief"
    assert asked["messages"] == [{"role": "user", "content": [words("hi")]}]


def test_messages_of_one_role_in_a_row_are_one_turn_and_empty_ones_none():
    assert turns(
        {"role": "user", "content": "a"}, {"role": "user", "content": [words("b"), words("")]},
        {"role": "assistant", "content": ""}, {"role": "user", "content": "c", "name": "ann"},
        {"role": "assistant", "content": [words("d"), {"type": "refusal", "refusal": "no"}]},
    ) == [
        {"role": "user", "content": [words("a"), words("b"), words("c")]},
        {"role": "assistant", "content": [words("d"), words("no")]},
    ]


def test_images_travel_as_bytes_or_as_their_address():
    parts = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in (PNG, "https://x.y/z.png")]
    assert turns({"role": "user", "content": [*parts, words("what?")]})[0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://x.y/z.png"}},
        words("what?"),
    ]


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "data:image/png,raw", "data:;base64,eA==", "x", "base64,eA=="])
def test_an_image_of_no_known_form_is_refused_by_place(url):
    part = {"type": "image_url", "image_url": {"url": url}}
    why = refused(messages=[{"role": "user", "content": [words("a"), part]}])
    assert why.param == "messages[0].content[1].image_url.url"
    assert url == "" or url not in str(why)


def test_tool_calls_and_their_answers_keep_together():
    assert turns(
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [call("a", "f", '{"x": 1.50}'), call("b", "g", "")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": [words("2"), {"type": "image_url", "image_url": {"url": PNG}}]},
        {"role": "user", "content": "and?"},
    ) == [
        {"role": "user", "content": [words("go")]},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1.5}},
            {"type": "tool_use", "id": "b", "name": "g", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "1"},
            {"type": "tool_result", "tool_use_id": "b", "content": [
                words("2"),
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
            ]},
            words("and?"),
        ]},
    ]


def test_a_tool_that_answered_nothing_has_still_answered():
    given = turns(
        {"role": "user", "content": "go"}, {"role": "assistant", "tool_calls": [call("a")]},
        {"role": "tool", "tool_call_id": "a", "content": ""},
    )
    assert given[2]["content"] == [{"type": "tool_result", "tool_use_id": "a", "content": ""}]


def test_arguments_are_sent_as_the_bytes_that_they_were():
    body = json.dumps({"model": "m", "messages": [
        {"role": "assistant", "tool_calls": [call("a", "f", '{"big":123456789012345678901234567890,"f":1.10}')]},
    ]}).encode()
    assert b'{"big":123456789012345678901234567890,"f":1.10}' in asked_of(body, False).body


def test_ids_of_other_backends_are_made_to_fit_alike_in_call_and_answer():
    given = turns(
        {"role": "assistant", "tool_calls": [call("functions.f:0")]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": "1"},
    )
    assert given[0]["content"][0]["id"] == given[1]["content"][0]["tool_use_id"] == "functions_f_0"


@pytest.mark.parametrize("arguments", ["[1]", "{", "nope", "null", "[" * 5000])
def test_arguments_that_are_no_object_are_refused_by_place(arguments):
    why = refused(messages=[{"role": "assistant", "tool_calls": [call("a"), call("b", "f", arguments)]}])
    assert why.param == "messages[0].tool_calls[1].function.arguments"


def test_tools_keep_their_schema_to_the_byte_and_get_one_when_they_have_none():
    schema = b'{"type":"object","properties":{"n":{"maximum":1e3}}}'
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[' \
        b'{"type":"function","function":{"name":"f","description":"d","strict":true,"parameters":' + schema + b"}}," \
        b'{"type":"function","function":{"name":"g","parameters":null}},{"type":"function","function":{"name":"h"}}]}'
    asked = asked_of(body, False).body
    assert b'"input_schema":' + schema in asked
    empty = {"type": "object", "properties": {}}
    assert json.loads(asked)["tools"] == [
        {"name": "f", "description": "d", "strict": True, "input_schema": json.loads(schema)},
        {"name": "g", "input_schema": empty}, {"name": "h", "input_schema": empty},
    ]


TOOLS = [{"type": "function", "function": {"name": "f"}}]
NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    "given, made",
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": NAMED}, {"type": "tool", "name": "f"}),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "required"}, {"type": "any", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": NAMED}, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}),
    ],
)
def test_each_choice_of_tools(given, made):
    assert request(tools=TOOLS, **given).get("tool_choice") == made


def test_a_choice_without_tools_is_left_out():
    assert "tool_choice" not in request(tool_choice="auto", parallel_tool_calls=False)
    assert "tools" not in request(tools=[], tool_choice="none")


@pytest.mark.parametrize(
    "given, made",
    [
        ({"temperature": 1.7}, {"temperature": 1.0}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0.5, "top_k": 7}, {"top_p": 0.5, "top_k": 7}),
        ({"max_tokens": 9}, {"max_tokens": 9}),
        ({"max_tokens": 9, "max_completion_tokens": 8}, {"max_tokens": 8}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"user": "ann"}, {"metadata": {"user_id": "ann"}}),
        ({"reasoning_effort": "high"}, {"output_config": {"effort": "high"}}),
        ({"reasoning_effort": "minimal"}, {"output_config": {"effort": "low"}}),
    ],
)
def test_each_parameter_has_its_place(given, made):
    assert request(**given).items() >= made.items()


def test_what_is_null_or_says_nothing_is_left_out():
    nothing = dict.fromkeys([
        "max_completion_tokens", "max_tokens", "temperature", "top_p", "stop", "tools", "tool_choice", "user", "n",
        "parallel_tool_calls", "response_format", "reasoning_effort", "stream_options", "logprobs", "top_logprobs",
        "logit_bias", "audio", "modalities", "functions", "function_call", "web_search_options",
    ])
    assert request(**nothing) == request()
    assert request(
        n=1, logprobs=False, top_logprobs=0, logit_bias={}, stop=[], response_format={"type": "text"}, functions=[],
        modalities=["text"], reasoning_effort="none", seed=4, frequency_penalty=1, store=True, metadata={"a": "b"},
    ) == request()


def test_a_json_schema_becomes_the_output_format():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    given = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    assert request(response_format=given)["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert request(response_format=given, reasoning_effort="low")["output_config"]["effort"] == "low"


def test_usage_at_the_end_of_a_stream_only_when_asked():
    body = {"model": "m", "messages": []}
    for options, wanted in ((None, False), ({}, False), ({"include_usage": False}, False), ({"include_usage": True}, True)):
        asked = asked_of(json.dumps({**body, "stream_options": options}).encode(), True)
        assert asked.include_usage is wanted and json.loads(asked.body)["stream"] is True
