"""A request of Ollama's API said anew as an OpenAI request.

It sends nothing, and it invents nothing but the ids of tool calls, which Ollama's
older clients do not know: a call and its answer find each other by order and name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from broker.dialects import ollama_shape as shape
from broker.dialects.anthropic_request import Untranslatable

#: What base64 of a picture begins with.
PICTURES = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp", "Qk": "bmp"}

_encode = msgspec.json.Encoder().encode


def chat_of(asked: shape.Chat) -> bytes:
    """The body of the chat request."""
    body = {**_settings(asked), "messages": _messages(asked.messages or [])}
    if asked.tools:
        body["tools"] = asked.tools
    return _encode(body)


def generation_of(asked: shape.Generate) -> tuple[str, bytes]:
    """The operation, "chat" or "completions", and its body. Raises Untranslatable."""
    for name in ("template", "context"):
        if getattr(asked, name):
            raise Untranslatable(f"{name}: only an Ollama server knows it; leave it out, or use /api/chat", name)
    if asked.raw or asked.suffix:
        if asked.images:
            raise Untranslatable("images: a raw prompt has no place for them", "images")
        body = {**_settings(asked), "prompt": asked.prompt or ""}
        return "completions", _encode({**body, "suffix": asked.suffix} if asked.suffix else body)
    messages = [shape.Message("system", asked.system)] if asked.system else []
    messages.append(shape.Message("user", asked.prompt, asked.images))
    return "chat", _encode({**_settings(asked), "messages": _messages(messages)})


def embedding_of(asked: shape.Embed) -> bytes:
    given = asked.prompt if asked.input is None else asked.input
    body = {"model": asked.model, "input": given if given is not None else "", "encoding_format": "float"}
    return _encode({**body, "dimensions": asked.dimensions} if asked.dimensions else body)


def _settings(asked: shape.Chat | shape.Generate) -> dict[str, Any]:
    options = asked.options or shape.Options()
    streaming = asked.stream is not False
    longest = options.num_predict
    said = {
        "model": asked.model,
        "stream": streaming,
        "stream_options": {"include_usage": True} if streaming else None,
        # Ollama's -1 and -2 mean: as long as it takes.
        "max_tokens": longest if longest is not None and longest > 0 else None,
        "temperature": options.temperature, "top_p": options.top_p, "top_k": options.top_k, "min_p": options.min_p,
        "seed": options.seed, "stop": options.stop or None, "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty, "repeat_penalty": options.repeat_penalty,
        "response_format": _response_format(asked.format), "reasoning_effort": _effort(asked.think),
    }
    return {name: value for name, value in said.items() if value is not None}


def _response_format(given: str | dict | None) -> dict[str, object] | None:
    if not given:
        return None
    if isinstance(given, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": given}}
    if given != "json":
        raise Untranslatable('format: it is "json" or a JSON schema', "format", "invalid_request")
    return {"type": "json_object"}


def _effort(think: bool | str | None) -> str | None:
    """LLMs that think do so unless told otherwise, and others refuse to be told to."""
    if isinstance(think, str):
        return think or None
    return "none" if think is False else None


def _messages(given: list[shape.Message]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    open_calls: list[tuple[str, str]] = []  # (id, name) of calls that have no answer yet
    made = 0
    for message in given:
        one: dict[str, Any] = {"role": message.role, "content": message.content or ""}
        if message.images:
            one["content"] = [{"type": "text", "text": message.content}] if message.content else []
            one["content"] += [{"type": "image_url", "image_url": {"url": _url(image)}} for image in message.images]
        if message.tool_calls:
            one["tool_calls"] = []
            for call in message.tool_calls:
                call_id = call.id or f"call_{made}"
                made += 1
                open_calls.append((call_id, call.function.name))
                one["tool_calls"].append({"id": call_id, "type": "function", "function": _function(call.function)})
        if message.role == "tool":
            one["tool_call_id"] = _answered(message, open_calls)
        said.append(one)
    return said


def _answered(message: shape.Message, open_calls: list[tuple[str, str]]) -> str:
    """The id of the call that a tool's message answers: the first open one of that name, else the first."""
    if message.tool_call_id:
        return message.tool_call_id
    for call in open_calls:
        if not message.tool_name or call[1] == message.tool_name:
            open_calls.remove(call)
            return call[0]
    return open_calls.pop(0)[0] if open_calls else "call_0"


def _function(called: shape.Called) -> dict[str, str]:
    arguments = called.arguments
    text = arguments if isinstance(arguments, str) else _encode(arguments or {}).decode()
    return {"name": called.name, "arguments": text}


def _url(image: str) -> str:
    if image.startswith(("data:", "http://", "https://")):
        return image
    kind = next((kind for begin, kind in PICTURES.items() if image.startswith(begin)), "png")
    return f"data:image/{kind};base64,{image}"
