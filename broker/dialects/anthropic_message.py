"""What an Anthropic server says, and OpenAI's words for it: shapes, reasons, counts, errors.

Shared by whole answers and streams; it reads nothing from a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

FINISH = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}  # every other reason, also one that is not known yet, is "stop"

encode = msgspec.json.Encoder().encode
Shape = TypeVar("Shape")


class Block(Struct):
    """A part of an answer: text, thinking or tool_use; other types have nothing for us."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class Counts(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None

    def seen(self, later: Counts | None) -> None:
        """Takes in what is said later in a stream. All counts are sums so far: the highest is right."""
        if later is not None:
            for name in self.__struct_fields__:
                now, then = getattr(self, name), getattr(later, name)
                setattr(self, name, then if now is None else max(now, then or 0))

    def usage(self) -> dict[str, object]:
        """As OpenAI counts: what was read from a cache is part of the prompt."""
        cached = self.cache_read_input_tokens or 0
        prompt = (self.input_tokens or 0) + (self.cache_creation_input_tokens or 0) + cached
        completion = self.output_tokens or 0
        return {
            "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }


class Message(Struct, tag_field="type", tag="message"):
    content: list[Block]
    id: str = ""
    model: str = ""
    stop_reason: str | None = None
    usage: Counts | None = None


class _Failed(Struct):
    error: Any


_failed = msgspec.json.Decoder(_Failed).decode


def read(decode: Callable[[bytes], Shape], said: bytes) -> Shape | None:
    """``None`` for what has not that shape. A broken character is replaced: it is no reason to lose an answer."""
    try:
        try:
            return decode(said)
        except UnicodeDecodeError:
            return decode(said.decode(errors="replace").encode())
    except (msgspec.MsgspecError, RecursionError):
        return None


def finish_reason(stop_reason: str | None) -> str:
    return FINISH.get(stop_reason or "", "stop")


def tool_call(block: Block, arguments: str) -> dict[str, object]:
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def error_shape(message: str, kind: str, code: str | None = None, param: str | None = None) -> bytes:
    """OpenAI's error."""
    return encode({"error": {"message": message, "type": kind, "code": code, "param": param}})


def error_of(said: bytes, otherwise: str) -> bytes:
    """OpenAI's shape of whatever the server called its error; ``otherwise``, when it gave no reason."""
    failed = read(_failed, said)
    error = failed.error if failed else None
    if isinstance(error, str) and error:
        return error_shape(error, "api_error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return error_shape(otherwise, "api_error")
    kind = error.get("type") if isinstance(error.get("type"), str) else "api_error"
    return error_shape(error["message"], kind, kind)
