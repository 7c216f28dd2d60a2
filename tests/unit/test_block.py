"""A persona changes what it is about; every other byte of the request is the caller's."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw

from broker.chat.block import as_persona, merged, request_body, system_block
from broker.errors import BadRequest
from broker.model import Persona


def dressed(body: bytes, prompt: str = "be kind", **params: object) -> bytes:
    return as_persona(body, Persona("bot", "m", (prompt,) if prompt else (), (json.dumps(params).encode(),), b"[]", b"{}", ""))


def test_what_the_agent_does_not_set_stays_byte_for_byte():
    body = b'{"model":"agent/bot","messages":[ {"role": "user",  "content":"\\u00e4 \xc3\xa4"} ],"x": 1.50e3,"y" : [ 1 ,2]}'
    assert dressed(body, top_k=5) == (
        b'{"model":"agent/bot","messages":[{"role":"system","content":"be kind"},'
        b'{"role": "user",  "content":"\\u00e4 \xc3\xa4"} ],"x":1.50e3,"y":[ 1 ,2],"top_k":5}'
    )


@pytest.mark.parametrize("messages", [b"[]", b" [ ] ", b"[\n]"])
def test_a_conversation_without_a_message_gets_the_prompt_alone(messages):
    said = json.loads(dressed(b'{"messages":%s}' % messages))
    assert said == {"messages": [{"role": "system", "content": "be kind"}]}


def test_without_a_prompt_the_messages_are_the_callers():
    assert dressed(b'{"messages":[ 1 ]}', prompt="") == b'{"messages":[ 1 ]}'
    assert dressed(b'{"messages":"what the LLM refuses"}', prompt="") == b'{"messages":"what the LLM refuses"}'


def test_the_callers_own_parameters_win_also_null_and_by_their_other_name():
    body = b'{"messages":[],"temperature":null,"max_completion_tokens":7}'
    assert json.loads(dressed(body, prompt="", temperature=1, max_tokens=9, seed=3)) == {
        "messages": [], "temperature": None, "max_completion_tokens": 7, "seed": 3,
    }


def test_what_is_the_callers_alone_is_never_filled_in():
    assert dressed(b'{"messages":[]}', prompt="", model="x", stream=True, messages=[1]) == b'{"messages":[]}'


@pytest.mark.parametrize("body", [b"{}", b'{"messages":null}', b'{"messages":{}}', b'{"messages":"["}'])
def test_messages_that_are_no_list_are_refused(body):
    with pytest.raises(BadRequest):
        dressed(body)


def test_several_prompts_are_one_system_message_for_templates_take_no_second_one():
    assert json.loads(system_block(["be kind", "be brief"])[0]) == {"role": "system", "content": "be kind\n\nbe brief"}
    assert system_block([]) == []


def test_of_two_layers_of_parameters_the_later_counts_also_by_its_other_name():
    layers = b'{"temperature":1,"max_tokens":9,"model":"x","stop":"a"}', b'{"max_completion_tokens":7,"stop":null,"messages":[]}'
    assert {name: bytes(value) for name, value in merged(*layers).items()} == {
        "temperature": b"1", "max_completion_tokens": b"7", "stop": b"null",
    }


def test_a_body_holds_the_messages_as_they_were_and_a_stream_tells_its_usage():
    messages = [b'{"role": "user",  "content":"a"}', b'{"x": 1.50}']
    body = request_body({"seed": Raw(b"1e3")}, messages, streaming=True)
    assert body == (
        b'{"seed":1e3,"messages":[{"role": "user",  "content":"a"},{"x": 1.50}],"stream":true,"stream_options":{"include_usage":true}}'
    )
    assert json.loads(request_body({"stream_options": Raw(b"null")}, [], streaming=True))["stream_options"] is None
