"""An OpenAI server's answer, whole or in chunks, as the fronts read it before they say it anew.

Shapes only, and as lenient as servers differ: a chunk's ``delta`` and a whole
answer's ``message`` are the same to a reader. It reads nothing from a connection.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from broker.dialects.broken import BrokenAnswer

NOT_A_COMPLETION = "the LLM's answer is not a chat completion of OpenAI's API: check the type of its server"
MOST_CHARACTERS = 2000  # of an error that is no JSON


class Called(Struct):
    name: str | None = None
    arguments: str | dict | None = None


class Call(Struct):
    """A tool call or a piece of one. Some servers leave out ``index``, others ``id``."""

    function: Called
    index: int | None = None
    id: str | None = None

    @property
    def arguments(self) -> str:
        given = self.function.arguments
        return encode(given).decode() if isinstance(given, dict) else given or ""


class Said(Struct):
    content: str | list | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            parts = [part.get("text") for part in self.content if isinstance(part, dict)]
            return "".join([part for part in parts if isinstance(part, str)])
        return self.content or self.refusal or ""

    @property
    def thoughts(self) -> str:
        for given in (self.reasoning_content, self.reasoning):
            if given and isinstance(given, str):
                return given
        return ""


class Choice(Struct):
    delta: Said | None = None
    message: Said | None = None
    text: str | None = None  # of a plain completion
    finish_reason: str | None = None
    stop_reason: Any = None  # vLLM's: the stop sequence that was met

    @property
    def piece(self) -> Said | None:
        """What a chunk says; a whole answer in one chunk says it as a ``message``, with calls that have no index."""
        if self.delta is None and self.message is not None:
            for number, call in enumerate(self.message.tool_calls or ()):
                call.index = number
            return self.message
        return self.delta


class Cached(Struct):
    cached_tokens: int | None = None


class Reasoned(Struct):
    reasoning_tokens: int | None = None


class Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Cached | None = None
    completion_tokens_details: Reasoned | None = None


class Answer(Struct):
    choices: list[Choice] | None = None
    usage: Usage | None = None
    model: Any = None
    error: Any = None
    created: Any = None

    @property
    def failure(self) -> tuple[int, dict[str, Any]]:
        """HTTP status and error of an answer that ends with one."""
        error = error_of(self.error, "the LLM's server ended its answer with an error")
        status = error.get("status", error.get("code"))
        return status if isinstance(status, int) else 502, error


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Answer).decode


def read(said: bytes) -> Answer:
    """Raises BrokenAnswer. A broken character is replaced: it is no reason to lose an answer."""
    try:
        try:
            return _decode(said)
        except UnicodeDecodeError:
            return _decode(said.decode(errors="replace").encode())
    except (msgspec.MsgspecError, RecursionError):
        raise BrokenAnswer(NOT_A_COMPLETION) from None


def read_whole(said: bytes) -> tuple[Said, Choice, Usage]:
    """A whole answer's one choice, with what was said in it. Raises BrokenAnswer."""
    answer = read(said)
    if not answer.choices:
        raise BrokenAnswer(NOT_A_COMPLETION)
    choice = answer.choices[0]
    return choice.message or Said(choice.text), choice, answer.usage or Usage()


def error_of(error: object, otherwise: str) -> dict[str, Any]:
    """Whatever a server calls its ``error``, as an object with a ``message``."""
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return error
    if isinstance(error, str) and error:
        return {"message": error}
    return {"message": otherwise}


def error_in(body: bytes, status: int) -> dict[str, Any]:
    """The error that a body tells, in OpenAI's shape or in another one."""
    otherwise = body[:MOST_CHARACTERS].decode(errors="replace").strip() or f"the LLM's server answered {status}"
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"message": otherwise}
    return error_of(said.get("error"), otherwise) if isinstance(said, dict) else {"message": otherwise}
