"""One answer of an LLM, read from its exchange: streamed or whole, into pieces as they come and the tool calls at its end.

As lenient as servers differ. A refusal of the LLM's server, and an answer that breaks off, is a Refusal; never
half an answer that looks whole. It dispatches nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import msgspec

from broker.dialects.broken import BrokenAnswer
from broker.dialects.openai_answer import Answer, Call, Said, Usage, error_in, error_of, read, read_whole
from broker.dialects.sse import EventReader, EventTooLarge, payloads
from broker.errors import BackendFailed, Relayed
from broker.relay.exchange import Exchange
from broker.relay.parts import Head

from .pieces import Piece, Reasoning, Text, ToolCall

EVENT_BYTES = 16 << 20
CALLS = 128

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Heard(msgspec.Struct):
    """A whole answer. ``size``: its bytes; ``usage`` None: none was told."""

    text: str = ""
    calls: list[ToolCall] = []
    finish_reason: str = ""
    usage: Usage | None = None
    model: str = ""
    size: int = 0


async def read_answer(exchange: Exchange, hear: Callable[[Piece], None], *, limit_bytes: int) -> Heard:
    """Reads to the end; ``hear`` gets each piece at once. Raises the Refusal that ends it, the LLM's own as well."""
    reader = _Reader(hear)
    events = EventReader(EVENT_BYTES)
    whole: list[bytes] = []
    size = 0
    try:
        while not exchange.done:
            data = await exchange.next()
            size += len(data)
            if size > limit_bytes:
                raise BackendFailed(f"The backend's answer is larger than {limit_bytes:,} bytes.")
            if not _is_stream(exchange.head or Head(200)):
                whole.append(data)
            elif data:
                reader.take(events.feed(data))
        head = exchange.head or Head(200)
        if head.status >= 300:
            raise _refused(head, b"".join(whole))
        if whole:
            reader.take_whole(b"".join(whole))
        else:
            reader.take(events.rest())
    except EventTooLarge:
        raise BackendFailed(f"the LLM's stream has an event of more than {EVENT_BYTES >> 20} MiB") from None
    except BrokenAnswer as broken:
        raise BackendFailed(str(broken)) from None
    return reader.heard(size)


def is_object(arguments: str) -> bool:
    """Whether a call's arguments are what every tool takes: a JSON object."""
    try:
        _object(arguments)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return False
    return True


class _Reader:
    def __init__(self, hear: Callable[[Piece], None]):
        self._hear = hear
        self._texts: list[str] = []
        self._calls: list[_Call] = []
        self._finish_reason = ""
        self._usage: Usage | None = None
        self._model = ""

    def take(self, block: bytes) -> None:
        """A stream's next events. Raises BrokenAnswer, and Relayed for the LLM's error."""
        for payload in payloads(block):
            if payload != b"[DONE]":
                self._take_answer(read(payload))

    def take_whole(self, body: bytes) -> None:
        """A whole answer. Raises as ``take``."""
        answer = read(body)
        if answer.error is None:
            read_whole(body)
        self._take_answer(answer)

    def heard(self, size: int) -> Heard:
        return Heard(
            "".join(self._texts), list(_named(self._calls)), self._finish_reason, self._usage, self._model, size
        )

    def _take_answer(self, answer: Answer) -> None:
        if answer.error is not None:
            error = error_of(answer.error, "the LLM's server ended its answer with an error")
            raise _relayed(error.get("status", error.get("code")), error)
        if answer.usage is not None:
            self._usage = answer.usage
        if isinstance(answer.model, str):
            self._model = answer.model
        if not answer.choices:
            return
        choice = answer.choices[0]
        self._take_piece(choice.delta or choice.message or Said(choice.text), whole=choice.message is not None)
        self._finish_reason = choice.finish_reason or self._finish_reason

    def _take_piece(self, said: Said, *, whole: bool) -> None:
        if said.thoughts:
            self._hear(Reasoning(said.thoughts))
        if said.text:
            self._texts.append(said.text)
            self._hear(Text(said.text))
        for number, piece in enumerate(said.tool_calls or ()):
            if whole:
                piece.index = number
            self._gather(piece)

    def _gather(self, piece: Call) -> None:
        """Pieces find their call by index, else they belong to the newest."""
        known = [one for one in self._calls if piece.index is None or one.index == piece.index]
        if not known or known[-1].ends_before(piece):
            if len(self._calls) == CALLS:
                raise BackendFailed(f"The LLM called more than {CALLS} tools at once.")
            known = [_Call(piece.index)]
            self._calls += known
        known[-1].take(piece)


class _Call:
    """A call that is still coming."""

    def __init__(self, index: int | None):
        self.index = index
        self.id = self.name = ""
        self._arguments: list[str] = []

    @property
    def arguments(self) -> str:
        return "".join(self._arguments)

    def take(self, piece: Call) -> None:
        self.id = self.id or piece.id or ""
        self.name = self.name or piece.function.name or ""
        self._arguments.append(piece.arguments)

    def ends_before(self, piece: Call) -> bool:
        """Whether a piece begins another call. Some servers give all calls the same index, or none; others
        repeat a call's name, or make up an id for each of its pieces."""
        name = piece.function.name
        if not name or not self.name:
            return False
        if piece.id and self.id:
            return piece.id != self.id
        return name != self.name or is_object(self.arguments)


def _named(calls: list[_Call]) -> Iterator[ToolCall]:
    """Each with an id of its own."""
    had: set[str] = set()
    for call in calls:
        call_id = call.id if call.id and call.id not in had else new_call_id()
        had.add(call_id)
        yield ToolCall(call_id, call.name, call.arguments.strip() or "{}")


def new_call_id() -> str:
    return f"call_{uuid.uuid4().hex}"


def _is_stream(head: Head) -> bool:
    return head.status < 300 and head.headers.get("content-type", "text/event-stream").startswith("text/event-stream")


def _refused(head: Head, body: bytes) -> Relayed:
    """The refusal of the LLM's server, and when to come again if it says so."""
    refusal = _relayed(head.status, error_in(body, head.status))
    after = head.headers.get("retry-after", "")
    refusal.retry_after_s = int(after) if after.isascii() and after.isdecimal() else refusal.retry_after_s
    return refusal


def _relayed(status: object, error: dict) -> Relayed:
    code = error.get("code") or error.get("type")
    known = isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599
    return Relayed(status if known else 502, code if isinstance(code, str) and code else "backend_error", error["message"])
