"""A request of Anthropic's Messages API said anew as an OpenAI chat request.

It sends nothing, and it invents nothing: what cannot be said there is refused by
name. The order of the conversation stays, except that a turn's tool results come
before its other content: the chat wants them right after the calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from broker.dialects import messages_shape as shape
from broker.dialects.anthropic_request import Untranslatable
from broker.dialects.reading import MOST_CHARACTERS, reader

BYTES_PER_TOKEN = 4
TOKENS_PER_IMAGE = 1600

_read = reader(shape.Asked)
_encode = msgspec.json.Encoder().encode


def read(request: bytes) -> shape.Asked:
    """Raises Untranslatable."""
    asked = _read(request)
    if not asked.messages:
        raise Untranslatable("messages: at least one message is required", "messages", "invalid_request")
    _refuse_what_runs_at_anthropic(asked)
    return asked


def chat_of(asked: shape.Asked) -> bytes:
    """The body of the chat request. Raises Untranslatable."""
    streaming = bool(asked.stream)
    output = asked.output_config or shape.OutputConfig()
    body: dict[str, object] = {
        "model": asked.model,
        "messages": _messages(asked),
        "max_tokens": asked.max_tokens,
        "stream": streaming,
        "stream_options": {"include_usage": True} if streaming else None,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "stop": asked.stop_sequences or None,
        "reasoning_effort": output.effort,
        "response_format": _response_format(output.format) if output.format else None,
        "user": asked.metadata.user_id if asked.metadata else None,
    }
    if asked.tools:
        body["tools"] = [_tool(tool) for tool in asked.tools]
        choice = asked.tool_choice
        body["tool_choice"] = _choice(choice) if choice else None
        body["parallel_tool_calls"] = False if choice and choice.disable_parallel_tool_use else None
    return _encode({name: value for name, value in body.items() if value is not None})


def estimated_tokens(asked: shape.Asked) -> int:
    """About how many tokens the prompt has: nobody here knows the LLM's own count. Raises Untranslatable."""
    images = 0
    for message in (messages := _messages(asked)):
        if isinstance(message["content"], list):
            texts = [part for part in message["content"] if part["type"] == "text"]
            images += len(message["content"]) - len(texts)
            message["content"] = texts
    size = len(_encode(messages)) + len(_encode([_tool(tool) for tool in asked.tools or ()]))
    return -(-size // BYTES_PER_TOKEN) + images * TOKENS_PER_IMAGE


def _refuse_what_runs_at_anthropic(asked: shape.Asked) -> None:
    if asked.mcp_servers:
        raise Untranslatable("mcp_servers: they are called by Anthropic's own servers only; leave them out", "mcp_servers")
    for number, tool in enumerate(asked.tools or ()):
        if tool.type not in (None, "custom"):
            where = f"tools[{number}].type"
            text = f"{where}: the tool {tool.type!r} exists at Anthropic only; describe a custom tool with its input_schema"
            raise Untranslatable(text[:MOST_CHARACTERS], where)


def _messages(asked: shape.Asked) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    if asked.system:
        said.append({"role": "system", "content": _joined(asked.system)})
    for number, message in enumerate(asked.messages):
        if isinstance(message, shape.System):
            said.append({"role": "system", "content": _joined(message.content)})
        elif isinstance(message, shape.Assistant):
            said.append(_assistant(message))
        else:
            said += _user(message, f"messages[{number}]")
    return said


def _joined(content: str | list[shape.Text]) -> str:
    return content if isinstance(content, str) else "\n\n".join([block.text for block in content])


def _assistant(message: shape.Assistant) -> dict[str, Any]:
    """Its thinking is left out: servers drop it, and some refuse it."""
    if isinstance(message.content, str):
        return {"role": "assistant", "content": message.content}
    text = "".join([block.text for block in message.content if isinstance(block, shape.Text)])
    calls = [
        {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": bytes(block.input).decode()}}
        for block in message.content
        if isinstance(block, shape.ToolUse)
    ]
    said: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if calls:
        said["tool_calls"] = calls
    return said


def _user(message: shape.User, place: str) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [{"role": "user", "content": message.content}]
    said, parts = [], []
    for number, block in enumerate(message.content):
        where = f"{place}.content[{number}]"
        if not isinstance(block, shape.ToolResult):
            parts.append(_part(block, where))
            continue
        result, pictures = _result(block, where)
        said.append(result)
        parts += pictures
    if all(part["type"] == "text" for part in parts):
        if parts:
            said.append({"role": "user", "content": "\n\n".join([part["text"] for part in parts])})
    else:
        said.append({"role": "user", "content": parts})
    return said or [{"role": "user", "content": ""}]


def _result(block: shape.ToolResult, place: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The tool's message, and what it may not hold in a chat: pictures and files, for the user's message."""
    content: Iterable = () if block.content is None else block.content
    if isinstance(content, str):
        parts = [{"type": "text", "text": content}]
    else:
        parts = [_part(inner, f"{place}.content[{number}]") for number, inner in enumerate(content)]
    text = "\n\n".join([part["text"] for part in parts if part["type"] == "text"])
    others = [part for part in parts if part["type"] != "text"]
    if not text:
        text = "(see the attachment in the next message)" if others else "error" if block.is_error else ""
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}, others


def _part(block: shape.Text | shape.Image | shape.Document | shape.SearchResult, place: str) -> dict[str, Any]:
    if isinstance(block, shape.Text):
        return {"type": "text", "text": block.text}
    if isinstance(block, shape.Image):
        return {"type": "image_url", "image_url": {"url": _url(block.source)}}
    if isinstance(block, shape.SearchResult):
        return {"type": "text", "text": f"{block.title}\n{block.source}\n{_joined(block.content)}"}
    if isinstance(block.source, shape.Base64):
        if block.source.media_type != "application/pdf":
            where = f"{place}.source.media_type"
            raise Untranslatable(f"{where}: a document is text or application/pdf", where, "invalid_request")
        file = {"filename": block.title or "document.pdf", "file_data": _url(block.source)}
        return {"type": "file", "file": file}
    text = block.source.data if isinstance(block.source, shape.PlainText) else _joined(block.source.content)
    return {"type": "text", "text": f"{block.title}\n{text}" if block.title else text}


def _url(source: shape.Base64 | shape.Address) -> str:
    return source.url if isinstance(source, shape.Address) else f"data:{source.media_type};base64,{source.data}"


def _tool(tool: shape.Tool) -> dict[str, object]:
    function: dict[str, object] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description:
        function["description"] = tool.description
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choice(choice: shape.ToolChoice) -> object:
    if choice.type == "tool":
        return {"type": "function", "function": {"name": choice.name or ""}}
    return "required" if choice.type == "any" else choice.type


def _response_format(given: shape.Format) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": given.schema, "strict": True}}
