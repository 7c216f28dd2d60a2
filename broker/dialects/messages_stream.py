"""An OpenAI stream said anew as one of Anthropic's, as it arrives: one read there, one block of events here.

Nothing is held back but the rest of an event that is not complete yet and, to the
end, why the answer stopped: only then is its usage known. Blocks follow one
another; a stream that breaks off is never made to look complete.
"""

from __future__ import annotations

from typing import Any

from broker.dialects.broken import BrokenAnswer
from broker.dialects.messages_answer import call_id, counts, error_shape, message_id, stopped
from broker.dialects.openai_answer import Call, Choice, Said, Usage, encode, read
from broker.dialects.sse import EventReader, EventTooLarge, payloads

EVENT_BYTES = 16 << 20
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class EventWriter:
    """Takes OpenAI's events in any pieces and gives Anthropic's. ``stops``: the sequences that were asked for."""

    def __init__(self, request_id: str, model: str, stops: list[str]):
        self._request_id = request_id
        self._model = model
        self._stops = stops
        self._events = EventReader(EVENT_BYTES)
        self._usage = Usage()
        self._last = Choice()
        self._begun = False
        self._index = -1  # of the newest block
        self._kind = ""  # of the block that is open
        self._call = ("", 0)  # id and index of the call that is open
        self._calls = 0
        self._delta = (b"", b"")  # what stands around a piece of the open block
        self.ended = False

    def say(self, data: bytes) -> bytes:
        """The events for what has come. Raises BrokenAnswer."""
        try:
            block = self._events.feed(data)
        except EventTooLarge:
            raise BrokenAnswer(f"the LLM's stream has an event of more than {EVENT_BYTES >> 20} MiB") from None
        return b"".join([self._payload(payload) for payload in payloads(block)]) if block else b""

    def say_whole(self, body: bytes) -> bytes:
        """A whole answer where a stream was asked for, in events. Raises BrokenAnswer."""
        return self._payload(body) + self.close()

    def close(self) -> bytes:
        """At the end of the answer."""
        said = b"".join([self._payload(payload) for payload in payloads(self._events.rest())])
        if self.ended:
            return said
        self.ended = True
        reason, sequence = stopped(self._last, self._stops, calls=bool(self._calls))
        end = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": sequence}, "usage": counts(self._usage)}
        return said + self._begin() + self._end_block() + b"event: message_delta\ndata: " + encode(end) + b"\n\n" + _STOP

    def fail(self, status: int, error: dict[str, Any]) -> bytes:
        """The last event of an answer that ends too early; nothing when it has ended."""
        if self.ended:
            return b""
        self.ended = True
        return b"event: error\ndata: " + error_shape(status, error, self._request_id) + b"\n\n"

    def _payload(self, payload: bytes) -> bytes:
        if self.ended or payload == b"[DONE]":
            return b""
        answer = read(payload)
        if answer.error is not None:
            return self.fail(*answer.failure)
        if answer.usage is not None:
            self._usage = answer.usage
        said = b"" if self._begun else self._begin()
        return said + self._choice(answer.choices[0]) if answer.choices else said

    def _choice(self, choice: Choice) -> bytes:
        piece = choice.piece
        said = self._piece(piece) if piece is not None else b""
        if choice.finish_reason:
            self._last = choice
            return said + self._end_block()
        return said

    def _piece(self, piece: Said) -> bytes:
        said = b""
        if thoughts := piece.thoughts:
            said = self._words("thinking", thoughts)
        if text := piece.text:
            said += self._words("text", text)
        if piece.tool_calls:
            said += b"".join([self._tool(call) for call in piece.tool_calls])
        return said

    def _words(self, kind: str, words: str) -> bytes:
        said = b""
        if self._kind != kind:
            first: dict[str, object] = {"type": "text", "text": ""}
            if kind == "thinking":
                first = {"type": "thinking", "thinking": "", "signature": ""}
            said = self._begin_block(kind, first, f"{kind}_delta", kind)
        before, after = self._delta
        return said + before + encode(words) + after

    def _tool(self, call: Call) -> bytes:
        said = b""
        open_id, open_index = self._call
        number = open_index if call.index is None else call.index
        # A server that numbers its calls badly still gives each of them an id of its own.
        another = bool(call.id and call.function.name and call.id != open_id)
        if self._kind != "tool_use" or number != open_index or another:
            if not call.function.name:
                raise BrokenAnswer("the LLM's stream mixes the pieces of several tool calls, which cannot be told apart")
            self._calls += 1
            use = {"type": "tool_use", "id": call_id(call), "name": call.function.name, "input": {}}
            said = self._begin_block("tool_use", use, "input_json_delta", "partial_json")
            self._call = (call.id or "", number)
        if not (arguments := call.arguments):
            return said
        before, after = self._delta
        return said + before + encode(arguments) + after

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message = {
            "id": message_id(self._request_id), "type": "message", "role": "assistant", "model": self._model, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": counts(self._usage),
        }
        return b"event: message_start\ndata: " + encode({"type": "message_start", "message": message}) + b"\n\n"

    def _begin_block(self, kind: str, block: dict[str, object], delta: str, field: str) -> bytes:
        said = self._end_block()
        self._kind = kind
        self._index += 1
        self._delta = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'
            % (self._index, delta.encode(), field.encode()),
            b"}}\n\n",
        )
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        return said + b"event: content_block_start\ndata: " + encode(start) + b"\n\n"

    def _end_block(self) -> bytes:
        if not self._kind:
            return b""
        self._kind = ""
        return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index
