"""A persona changes what it is about; every other byte of the request is the caller's."""

from __future__ import annotations

import json

import pytest

from broker.errors import BadRequest
from broker.model import Persona
from broker.persona import as_persona


def dressed(body: bytes, prompt: str = "be kind", **params: object) -> bytes:
    return as_persona(body, Persona("bot", "m", prompt, json.dumps(params).encode()))


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
