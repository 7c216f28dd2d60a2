"""Requests that Anthropic's API has no words for: refused before anything is sent, each by name and place."""

from __future__ import annotations

import pytest

from broker.dialects.anthropic_request import Untranslatable, asked_of
from tests.publisher.backends.anthropic_asking import refused


@pytest.mark.parametrize(
    "name, value",
    [
        ("n", 2), ("n", 0), ("logprobs", True), ("top_logprobs", 3), ("logit_bias", {"1": 2}), ("audio", {"voice": "x"}),
        ("modalities", ["text", "audio"]), ("functions", [{"name": "f"}]), ("function_call", "auto"),
        ("web_search_options", {}), ("response_format", {"type": "json_object"}),
    ],
)
def test_what_has_no_words_there_is_refused_by_name(name, value):
    why = refused(**{name: value})
    assert (why.param, why.code) == (name, "unsupported_parameter") and name in str(why)


@pytest.mark.parametrize(
    "request_, place",
    [
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "function", "content": "b"}]}, "messages[1].role"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "function": {"name": "x"}}]}, "tools[0].type"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format.json_schema"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
    ],
)
def test_what_is_malformed_is_refused_by_place(request_, place):
    why = refused(**request_)
    assert (why.param, why.code) == (place, "invalid_request")
    assert "\n" not in str(why) and place in str(why)


def test_a_refusal_quotes_little_of_a_request():
    why = refused(messages=[{"role": "x" * 5000, "content": "a"}])
    assert why.param == "messages[0].role" and len(str(why)) <= 300


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model":"m"}', b"\xff", b'{"model":"\xff","messages":[]}'])
def test_what_is_no_request_at_all_is_refused(body):
    with pytest.raises(Untranslatable) as why:
        asked_of(body, False)
    assert why.value.param is None and why.value.code == "invalid_request"


def test_a_request_nested_too_deeply_is_refused():
    body = b'{"model":"m","messages":[],"metadata":' + b"[" * 20000 + b"]" * 20000 + b"}"
    with pytest.raises(Untranslatable, match="nested too deeply"):
        asked_of(body, False)
