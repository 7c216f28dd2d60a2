"""An OpenAI chat request said anew as one of Anthropic's Messages API.

It sends nothing, and it invents nothing: what cannot be said there is refused by
name. The order of the conversation stays, except that what the system says comes first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from broker.dialects import anthropic_chat as chat
MAX_TOKENS = 4096  # the API demands a number; OpenAI's does not
HOTTEST = 1.0  # OpenAI's scale ends at 2
LEAST_EFFORT = "low"
TOO_DEEP = "the request is nested too deeply"
MOST_CHARACTERS = 300  # of a refusal, which may quote the request

_decode = msgspec.json.Decoder(chat.Chat).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`")
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")
_NO_SCHEMA = msgspec.Raw(b'{"type":"object","properties":{}}')


class Untranslatable(Exception):
    """The request says what Anthropic's API has no words for. ``param``: where."""

    def __init__(self, message: str, param: str | None, code: str = "unsupported_parameter") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class Asked:
    body: bytes
    include_usage: bool  # on a stream: at its end, as OpenAI does when asked


def asked_of(request: bytes, streaming: bool) -> Asked:
    told = _read(request)
    parameters = _parameters(told)
    system, turns = _conversation(told.messages)
    said = {"model": told.model, "max_tokens": MAX_TOKENS, "messages": turns, "stream": streaming, **parameters}
    if system is not None:
        said["system"] = system
    if not told.tools:
        said.pop("tool_choice", None)
    return Asked(_encode(said), bool(told.stream_options and told.stream_options.include_usage))


def parameters_of(fields: dict[str, msgspec.Raw]) -> dict[str, object]:
    """A chat request's parameters, without its messages, as fields of a Messages request; ``tool_choice`` also where
    there are no tools. Raises Untranslatable."""
    return _parameters(_read(_encode({**fields, "model": "", "messages": []})))


def _parameters(told: chat.Chat) -> dict[str, object]:
    _refuse_what_cannot_be_said(told)
    said: dict[str, object] = {
        "max_tokens": told.max_completion_tokens or told.max_tokens or None,
        "temperature": None if told.temperature is None else min(told.temperature, HOTTEST),
        "top_p": told.top_p,
        "top_k": told.top_k,
        "stop_sequences": _stops(told.stop),
        "output_config": _output(told),
        "metadata": {"user_id": told.user} if told.user else None,
        "tools": [_tool(tool.function) for tool in told.tools] if told.tools else None,
        "tool_choice": _choice(told),
    }
    return {name: value for name, value in said.items() if value is not None}


def _read(request: bytes) -> chat.Chat:
    try:
        return _decode(request)
    except RecursionError:
        raise Untranslatable(TOO_DEEP, None, "invalid_request") from None
    except UnicodeDecodeError:
        raise Untranslatable("the request is not UTF-8", None, "invalid_request") from None
    except msgspec.MsgspecError as err:
        found = _PLACE.fullmatch(str(err))
        what, where = found.groups() if found else (str(err), None)
        text = f"a backend of type anthropic cannot take {where or 'this request'}: {what}"
        raise Untranslatable(text[:MOST_CHARACTERS], where, "invalid_request") from None


def _refuse_what_cannot_be_said(told: chat.Chat) -> None:
    refused = {
        "n": told.n is not None and told.n != 1,
        "logprobs": told.logprobs,
        "top_logprobs": told.top_logprobs,
        "logit_bias": told.logit_bias,
        "audio": told.audio is not None,
        "modalities": told.modalities and told.modalities != ["text"],
        "functions": told.functions,
        "function_call": told.function_call,
        "web_search_options": told.web_search_options is not None,
    }
    for name, given in refused.items():
        if given:
            raise Untranslatable(f"a backend of type anthropic knows no {name}: leave it out", name)
    if isinstance(told.response_format, chat.AnyJson):
        text = 'a backend of type anthropic knows no response_format "json_object": use "json_schema"'
        raise Untranslatable(text, "response_format")


def _conversation(messages: list[chat.Message]) -> tuple[str | None, list[dict[str, object]]]:
    """What the system says, and the turns: two of one role that follow each other are one."""
    system: list[str] = []
    turns: list[dict[str, object]] = []
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        if isinstance(message, chat.System | chat.Developer):
            system += [block["text"] for block in _blocks(message.content, place)]
            continue
        role, blocks = _turn(message, place)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:  # an empty turn is refused there, and says nothing
            turns.append({"role": role, "content": blocks})
    return "\n\n".join(system) or None, turns


def _turn(message: chat.User | chat.Assistant | chat.ToolAnswer, place: str) -> tuple[str, list[dict]]:
    blocks = _blocks(message.content, place)
    if isinstance(message, chat.ToolAnswer):
        content = message.content if isinstance(message.content, str) else blocks
        return "user", [{"type": "tool_result", "tool_use_id": _id(message.tool_call_id), "content": content}]
    if isinstance(message, chat.User):
        return "user", blocks
    calls = enumerate(message.tool_calls or ())
    return "assistant", blocks + [_call(call, f"{place}.tool_calls[{number}]") for number, call in calls]


def _blocks(content: str | list | None, place: str) -> list[dict]:
    """Text and images. Empty texts are left out: the API refuses them."""
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    blocks = []
    for number, part in enumerate(content):
        if isinstance(part, chat.Image):
            source = _source(part.image_url.url, f"{place}.content[{number}].image_url.url")
            blocks.append({"type": "image", "source": source})
        elif text := part.refusal if isinstance(part, chat.Refusal) else part.text:
            blocks.append({"type": "text", "text": text})
    return blocks


def _source(url: str, place: str) -> dict[str, str]:
    if url[:8].lower().startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    head, _, data = url.partition(",")
    kind, *more = head.removeprefix("data:").split(";")
    if not head.startswith("data:") or not kind or more[-1:] != ["base64"]:
        raise Untranslatable(f'{place}: an image is "https://…" or "data:image/…;base64,…"', place, "invalid_request")
    return {"type": "base64", "media_type": kind, "data": data}


def _call(call: chat.ToolCall, place: str) -> dict[str, object]:
    arguments = call.function.arguments.strip() or "{}"
    try:
        _object(arguments)
    except (msgspec.MsgspecError, RecursionError):  # a str cannot hold broken UTF-8
        where = f"{place}.function.arguments"
        raise Untranslatable(f"{where}: it is not a JSON object", where, "invalid_request") from None
    return {
        "type": "tool_use", "id": _id(call.id), "name": call.function.name,
        "input": msgspec.Raw(arguments.encode()),
    }


def _id(given: str) -> str:
    """Other backends make ids, which travel with the conversation, of more characters than are allowed here."""
    return _NOT_IN_IDS.sub("_", given)


def _tool(function: chat.Function) -> dict[str, object]:
    parameters = function.parameters
    tool: dict[str, object] = {
        "name": function.name, "input_schema": _NO_SCHEMA if bytes(parameters) == b"null" else parameters
    }
    if function.description:
        tool["description"] = function.description
    if function.strict:
        tool["strict"] = True
    return tool


def _choice(told: chat.Chat) -> dict[str, object] | None:
    given = told.tool_choice
    if isinstance(given, chat.NamedTool):
        choice: dict[str, object] = {"type": "tool", "name": given.function.name}
    elif given == "none":
        return {"type": "none"}
    elif given is None and told.parallel_tool_calls is not False:
        return None
    else:
        choice = {"type": "any" if given == "required" else "auto"}
    if told.parallel_tool_calls is False:
        choice["disable_parallel_tool_use"] = True
    return choice


def _stops(stop: str | list[str] | None) -> list[str] | None:
    given = [stop] if isinstance(stop, str) else stop or []
    return [text for text in given if text] or None


def _output(told: chat.Chat) -> dict[str, object] | None:
    output: dict[str, object] = {}
    if isinstance(told.response_format, chat.SchemaJson):
        output["format"] = {"type": "json_schema", "schema": told.response_format.json_schema.schema}
    if told.reasoning_effort and told.reasoning_effort != "none":
        output["effort"] = LEAST_EFFORT if told.reasoning_effort == "minimal" else told.reasoning_effort
    return output or None
