"""An OpenAI server's answer said anew as Ollama's: whole, embeddings, or line by line as it arrives.

A line is one JSON object. Tool calls are said when they are complete, for Ollama
knows no pieces of them; everything else at once. Durations are told by the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from broker.dialects.broken import BrokenAnswer
from broker.dialects.openai_answer import Call, Choice, Said, Usage, encode, error_of, read, read_whole
from broker.dialects.sse import EventReader, EventTooLarge, payloads

EVENT_BYTES = 16 << 20
NOT_EMBEDDINGS = "the LLM's answer is not a list of embeddings: is it an embedding model?"

_object = msgspec.json.Decoder(dict[str, Any]).decode


class LineWriter:
    """Takes OpenAI's events in any pieces and gives Ollama's lines.

    ``chatting`` False: for ``/api/generate``. ``durations`` is asked once, at the end.
    """

    def __init__(self, model: str, durations: Callable[[], dict[str, int]], *, chatting: bool):
        self._model = encode(model)
        self._durations = durations
        self._chatting = chatting
        self._events = EventReader(EVENT_BYTES)
        self._usage = Usage()
        self._reason: str | None = None
        self._calls: list[list] = []  # [id, name, pieces of arguments, index]
        self.ended = False

    def wait(self) -> bytes:
        """A line without content: a sign of life while the answer is awaited."""
        return self._line(Said())

    def say(self, data: bytes) -> bytes:
        """The lines for what has come. Raises BrokenAnswer."""
        try:
            block = self._events.feed(data)
        except EventTooLarge:
            raise BrokenAnswer(f"the LLM's stream has an event of more than {EVENT_BYTES >> 20} MiB") from None
        return b"".join([self._payload(payload) for payload in payloads(block)]) if block else b""

    def say_whole(self, body: bytes) -> bytes:
        """A whole answer where a stream was asked for, in lines. Raises BrokenAnswer."""
        return self._payload(body) + self.close()

    def close(self) -> bytes:
        """At the end of the answer."""
        said = b"".join([self._payload(payload) for payload in payloads(self._events.rest())])
        if self.ended:
            return said
        said += self._complete()
        self.ended = True
        return said + self._line(Said(), end=encode(end_of(self._reason, self._usage, self._durations()))[1:])

    def fail(self, error: dict[str, Any]) -> bytes:
        """The last line of an answer that ends too early; nothing when it has ended."""
        if self.ended:
            return b""
        self.ended = True
        return error_shape(error) + b"\n"

    def _payload(self, payload: bytes) -> bytes:
        if self.ended or payload == b"[DONE]":
            return b""
        answer = read(payload)
        if answer.error is not None:
            return self.fail(error_of(answer.error, "the LLM's server ended its answer with an error"))
        if answer.usage is not None:
            self._usage = answer.usage
        return self._choice(answer.choices[0]) if answer.choices else b""

    def _choice(self, choice: Choice) -> bytes:
        piece = choice.delta or choice.message or (Said(choice.text) if choice.text else None)
        said = b""
        if piece is not None:
            if piece.text or piece.thoughts:
                said = self._line(piece)
            for number, call in enumerate(piece.tool_calls or ()):
                if choice.message is not None:
                    call.index = number
                self._collect(call)
        if choice.finish_reason:
            self._reason = choice.finish_reason
            said += self._complete()
        return said

    def _collect(self, call: Call) -> None:
        """Pieces find their call by index, else they belong to the newest one."""
        known = [one for one in self._calls if one[3] == call.index] if call.index is not None else self._calls[-1:]
        if not known or (call.id and call.function.name and call.id != known[-1][0]):
            known = [[call.id or "", call.function.name or "", [], call.index]]
            self._calls += known
        known[-1][2].append(call.arguments)

    def _complete(self) -> bytes:
        if not self._calls:
            return b""
        calls = [_called(call_id, name, "".join(pieces)) for call_id, name, pieces, _ in self._calls]
        self._calls.clear()
        return self._line(Said(), calls) if self._chatting else b""

    def _line(self, piece: Said, calls: list | None = None, end: bytes = b'"done":false}') -> bytes:
        said = encode(_words(piece, calls, self._chatting))
        return b'{"model":%s,"created_at":"%s",%s,%s\n' % (self._model, _now().encode(), said[1:-1], end)


def answer_of(body: bytes, model: str, durations: dict[str, int], *, chatting: bool) -> bytes:
    """A whole answer. Raises BrokenAnswer."""
    said, choice, usage = read_whole(body)
    calls = [_called(call.id or "", call.function.name or "", call.arguments) for call in said.tool_calls or ()]
    words = _words(said, calls, chatting)
    return encode({"model": model, "created_at": _now(), **words, **end_of(choice.finish_reason, usage, durations)})


def end_of(reason: str | None, usage: Usage, durations: dict[str, int]) -> dict[str, Any]:
    """What is said with ``done``. Counts that no server told are left out."""
    counts = {"prompt_eval_count": usage.prompt_tokens, "eval_count": usage.completion_tokens}
    said = {name: count for name, count in counts.items() if count is not None}
    return {"done": True, "done_reason": "length" if reason == "length" else "stop", **durations, **said}


def error_shape(error: dict[str, Any]) -> bytes:
    """Ollama's error, and our code, of which it knows nothing."""
    code = error.get("code")
    said = {"error": error["message"]}
    return encode({**said, "code": code} if isinstance(code, str) and code else said)


def loaded(model: str, *, chatting: bool) -> bytes:
    """The answer to a request without a prompt, which asks Ollama to load the model."""
    words = _words(Said(), None, chatting)
    return encode({"model": model, "created_at": _now(), **words, "done": True, "done_reason": "load"})


def embeddings_of(body: bytes, model: str, durations: dict[str, int], *, single: bool) -> bytes:
    """``single``: for ``/api/embeddings``, which knows one text. Raises BrokenAnswer."""
    try:
        answer = msgspec.json.decode(body)
        entries = sorted(answer["data"], key=lambda entry: entry.get("index", 0))
        vectors = [entry["embedding"] for entry in entries]
        usage = answer.get("usage") or {}
        if single:
            return encode({"embedding": vectors[0]})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        raise BrokenAnswer(NOT_EMBEDDINGS) from None
    said = {"model": model, "embeddings": vectors, **durations}
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return encode({**said, "prompt_eval_count": count} if isinstance(count, int) else said)


def _words(piece: Said, calls: list | None, chatting: bool) -> dict[str, Any]:
    more: dict[str, Any] = {"thinking": piece.thoughts} if piece.thoughts else {}
    if not chatting:
        return {"response": piece.text, **more}
    if calls:
        more["tool_calls"] = calls
    return {"message": {"role": "assistant", "content": piece.text, **more}}


def _called(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    try:
        given = _object(arguments.strip() or "{}")
    except (msgspec.MsgspecError, RecursionError):
        raise BrokenAnswer(f"the LLM called the tool {name[:100]!r} with arguments that are not a JSON object") from None
    call: dict[str, Any] = {"function": {"name": name, "arguments": given}}
    return {"id": call_id, **call} if call_id else call


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
