"""A request of OpenAI's Responses API said anew as a chat request.

It sends nothing, and it invents nothing: what cannot be said there is refused by
name. Items are ``responses_items.py``'s.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from broker.dialects import responses_shape as shape
from broker.dialects.anthropic_request import Untranslatable
from broker.dialects.reading import MOST_CHARACTERS, reader
from broker.dialects.responses_items import messages_of

_METADATA, _KEY_CHARACTERS, _VALUE_CHARACTERS = 16, 64, 512
_NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')

_asked = reader(shape.Asked)
_tool = reader(shape.Function)
_encode = msgspec.json.Encoder().encode


def read(request: bytes) -> shape.Asked:
    """Raises Untranslatable."""
    asked = _asked(request)
    if not asked.model:
        raise Untranslatable("`model` is missing; GET /v1/models lists the possible ones", "model", "invalid_request")
    if not asked.input:
        raise Untranslatable("`input` is missing", "input", "invalid_request")
    if asked.background and asked.store is False:
        raise Untranslatable("background: a response in the background is stored; leave `store` out", "store", "invalid_request")
    _refuse_what_cannot_be_said(asked)
    _check_metadata(asked.metadata or {})
    return asked


def chat_of(asked: shape.Asked, before: list[Raw], items: list[Raw]) -> bytes:
    """The body of the chat request. ``before``: items of the responses that this one goes on from. Raises Untranslatable."""
    streaming = bool(asked.stream)
    text = asked.text or shape.TextConfig()
    tools, choice = _tools(asked)
    body: dict[str, object] = {
        "model": asked.model,
        "messages": messages_of(asked.instructions, [*before, *items], of_request=len(items)),
        "stream": streaming,
        "stream_options": {"include_usage": True} if streaming else None,
        "max_tokens": asked.max_output_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "reasoning_effort": asked.reasoning.effort if asked.reasoning else None,
        "verbosity": text.verbosity,
        "response_format": _response_format(text.format) if text.format else None,
        "user": asked.safety_identifier or asked.user,
    }
    if tools:
        body |= {"tools": tools, "tool_choice": choice, "parallel_tool_calls": asked.parallel_tool_calls}
    return _encode({name: value for name, value in body.items() if value is not None})


def _refuse_what_cannot_be_said(asked: shape.Asked) -> None:
    refused = {
        "conversation": (asked.conversation is not None, "there are none here; go on with previous_response_id"),
        "prompt": (asked.prompt is not None, "prompt templates are kept by OpenAI only; send instructions and input"),
        "context_management": (asked.context_management, "only OpenAI compacts a conversation; send what is to be read"),
        "moderation": (asked.moderation is not None, "only OpenAI has it; leave it out"),
        "truncation": (asked.truncation not in (None, "disabled"), 'nobody here shortens a conversation; it is "disabled"'),
        "top_logprobs": (asked.top_logprobs, "this front tells none; ask /v1/chat/completions"),
        "include": ("message.output_text.logprobs" in (asked.include or ()), "this front tells no logprobs; ask /v1/chat/completions"),
    }
    for name, (given, why) in refused.items():
        if given:
            raise Untranslatable(f"{name}: {why}", name)


def _check_metadata(metadata: dict[str, str]) -> None:
    long = any(len(key) > _KEY_CHARACTERS or len(value) > _VALUE_CHARACTERS for key, value in metadata.items())
    if len(metadata) > _METADATA or long:
        text = f"metadata: at most {_METADATA} entries, names to {_KEY_CHARACTERS} and values to {_VALUE_CHARACTERS} characters"
        raise Untranslatable(text, "metadata", "invalid_request")


def _tools(asked: shape.Asked) -> tuple[list[dict[str, Any]], object]:
    """The chat's tools, and which of them the LLM is to call."""
    tools = [_function(raw, number) for number, raw in enumerate(asked.tools or ())]
    choice = asked.tool_choice
    if not isinstance(choice, shape.Choice):
        if choice not in (None, "none", "auto", "required"):
            raise Untranslatable("tool_choice: it is none, auto, required, or names a function", "tool_choice", "invalid_request")
        return tools, choice
    if choice.type == "function":
        return tools, {"type": "function", "function": {"name": choice.name or ""}}
    if choice.type == "allowed_tools":
        allowed = {tool.get("name") for tool in choice.tools}
        return [tool for tool in tools if tool["function"]["name"] in allowed], choice.mode
    raise Untranslatable(f"tool_choice: {choice.type!r} exists at OpenAI only; name a function"[:MOST_CHARACTERS], "tool_choice")


def _function(raw: Raw, number: int) -> dict[str, Any]:
    where = f"tools[{number}]"
    try:
        tool = _tool(bytes(raw))
    except Untranslatable as why:
        raise Untranslatable(f"{where}.{why}"[:MOST_CHARACTERS], f"{where}.{why.param}", why.code) from None
    if tool.type != "function":
        text = f"{where}.type: the tool {tool.type!r} runs at OpenAI only; here tools are functions, which you run yourself"
        raise Untranslatable(text[:MOST_CHARACTERS], f"{where}.type")
    function: dict[str, object] = {"name": tool.name, "parameters": tool.parameters}
    if bytes(tool.parameters) == b"null":
        function["parameters"] = _NO_PARAMETERS
    if tool.description:
        function["description"] = tool.description
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _response_format(given: shape.Format) -> dict[str, object] | None:
    if given.type == "text":
        return None
    if given.type == "json_object":
        return {"type": "json_object"}
    said: dict[str, object] = {"name": given.name, "schema": given.schema}
    if given.description:
        said["description"] = given.description
    if given.strict is not None:
        said["strict"] = given.strict
    return {"type": "json_schema", "json_schema": said}
