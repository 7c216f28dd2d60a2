"""Items of OpenAI's Responses API, what was asked and what was answered alike, said anew as messages of a chat.

It sends nothing, and it invents nothing: what cannot be said there is refused by
name. The order stays, except that pictures of a tool come after the answers of all
tools: the chat wants those right after the calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from broker.dialects import responses_shape as shape
from broker.dialects.anthropic_request import Untranslatable
from broker.dialects.reading import MOST_CHARACTERS, reader

_kind = reader(shape.Kind)
_message = reader(shape.Message)
_call = reader(shape.FunctionCall)
_output = reader(shape.FunctionOutput)
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def items_of(given: str | list[Raw], response_id: str) -> list[Raw]:
    """The input of a request as items that can be kept and listed: each has a type and an id. Raises Untranslatable."""
    name = response_id.removeprefix("resp_")
    if isinstance(given, str):
        content = [{"type": "input_text", "text": given}]
        item = {"id": f"msg_{name}_in0", "type": "message", "role": "user", "status": "completed", "content": content}
        return [Raw(_encode(item))]
    return [_named(raw, number, name) for number, raw in enumerate(given)]


def messages_of(instructions: str | None, items: Iterable[Raw], *, of_request: int = 0) -> list[dict[str, Any]]:
    """The chat's messages. ``of_request``: how many of the last items are the request's own, by whose number a refusal
    names them. Raises Untranslatable."""
    said: list[dict[str, Any]] = []
    if instructions:
        said.append({"role": "system", "content": instructions})
    items = list(items)
    pictures: list[dict[str, Any]] = []
    for number, raw in enumerate(items, start=of_request - len(items)):
        place = f"input[{number}]"
        kind = _read(_kind, raw, place).type
        if pictures and kind != "function_call_output":
            said.append({"role": "user", "content": pictures})
            pictures = []
        if kind == "message":
            _say(said, _read(_message, raw, place), place)
        elif kind == "function_call":
            _call_tool(said, _read(_call, raw, place))
        elif kind == "function_call_output":
            result, more = _result(_read(_output, raw, place), place)
            said.append(result)
            pictures += more
        elif kind != "reasoning":  # which servers drop, and some refuse
            raise Untranslatable(_not_known(kind, place)[:MOST_CHARACTERS], place)
    if pictures:
        said.append({"role": "user", "content": pictures})
    return said


def _named(raw: Raw, number: int, name: str) -> Raw:
    place = f"input[{number}]"
    kind = _read(_kind, raw, place)
    fields: dict[str, object] = dict(_fields(raw))
    if kind.type == "message":
        message = _read(_message, raw, place)
        if isinstance(message.content, str):
            part: dict[str, object] = {"type": "input_text", "text": message.content}
            if message.role == "assistant":
                part = {"type": "output_text", "text": message.content, "annotations": []}
            fields["content"] = [part]
        fields.setdefault("status", "completed")
    prefix = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}.get(kind.type, "item")
    return Raw(_encode({**fields, "type": kind.type, "id": kind.id or f"{prefix}_{name}_in{number}"}))


def _read(read, raw: Raw, place: str):
    try:
        return read(bytes(raw))
    except Untranslatable as why:
        where = f"{place}.{why.param}" if why.param else place
        text = str(why).removeprefix(f"{why.param}: ")
        raise Untranslatable(f"{where}: {text}"[:MOST_CHARACTERS], where, why.code) from None


def _say(said: list[dict[str, Any]], message: shape.Message, place: str) -> None:
    if message.role == "assistant":
        text = message.content
        if not isinstance(text, str):
            text = "".join([part.text for part in text if isinstance(part, shape.OutputText | shape.Refused | shape.InputText)])
        if said and said[-1]["role"] == "assistant" and said[-1]["content"] is None:
            said[-1]["content"] = text
        else:
            said.append({"role": "assistant", "content": text})
        return
    # Templates of local models know no developer.
    role = "user" if message.role == "user" else "system"
    content: object = message.content
    if not isinstance(message.content, str):
        parts = [_part(part, f"{place}.content[{number}]") for number, part in enumerate(message.content)]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        content = "\n\n".join(texts) if len(texts) == len(parts) else parts
    said.append({"role": role, "content": content})


def _call_tool(said: list[dict[str, Any]], call: shape.FunctionCall) -> None:
    if not said or said[-1]["role"] != "assistant":
        said.append({"role": "assistant", "content": None})
    function = {"name": call.name, "arguments": call.arguments}
    said[-1].setdefault("tool_calls", []).append({"id": call.call_id, "type": "function", "function": function})


def _result(item: shape.FunctionOutput, place: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The tool's message, and what it may not hold in a chat: pictures and files, for a user's message."""
    text, others = item.output, []
    if not isinstance(text, str):
        parts = [_part(part, f"{place}.output[{number}]") for number, part in enumerate(text)]
        others = [part for part in parts if part["type"] != "text"]
        text = "\n\n".join([part["text"] for part in parts if part["type"] == "text"])
        text = text or ("(see the attachment in the next message)" if others else "")
    return {"role": "tool", "tool_call_id": item.call_id, "content": text}, others


def _part(part: shape.Part, place: str) -> dict[str, Any]:
    if isinstance(part, shape.InputImage):
        if not part.image_url:
            raise Untranslatable(f"{place}.image_url: it is needed here, as an address or a data URL; file_id means nothing to an LLM", place)
        image = {"url": part.image_url}
        return {"type": "image_url", "image_url": {**image, "detail": part.detail} if part.detail else image}
    if isinstance(part, shape.InputFile):
        if not part.file_data:
            raise Untranslatable(f"{place}.file_data: it is needed here; file_id and file_url mean nothing to an LLM", place)
        return {"type": "file", "file": {"filename": part.filename or "file", "file_data": part.file_data}}
    if isinstance(part, shape.InputAudio):
        return {"type": "input_audio", "input_audio": part.input_audio}
    return {"type": "text", "text": part.text}


def _not_known(kind: str, place: str) -> str:
    if kind == "item_reference":
        return f"{place}: an item_reference means nothing to an LLM; send the item itself, or previous_response_id"
    return f"{place}: an item of the type {kind!r} exists at OpenAI only; leave it out"
