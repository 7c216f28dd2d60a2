"""An Anthropic stream said anew as OpenAI's, as it arrives: one read there, one block of events here.

Nothing is held back but the rest of an event that is not complete yet. A stream
that breaks off is never made to look complete.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec
from msgspec import Struct

from broker.dialects.anthropic_message import Block, Counts, encode, error_of, finish_reason, read, tool_call
from broker.dialects.broken import BrokenAnswer, CutOff
from broker.dialects.response import Bytes
from broker.dialects.sse import DONE, EventReader, payloads

EVENT_BYTES = 16 << 20


class _Begun(Struct):
    id: str = ""
    model: str = ""
    usage: Counts | None = None


class _Delta(Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Event(Struct):
    type: str
    index: int = 0
    message: _Begun | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: Counts | None = None


_decode = msgspec.json.Decoder(_Event).decode


class _OpenCall:
    """A tool call whose arguments are still arriving."""

    def __init__(self, number: int, block: Block) -> None:
        self.number = number
        self.whole = bytes(block.input).decode()  # all of them, when no piece ever comes
        self.begun = False


class ChunkWriter:
    """Takes Anthropic's events one after the other and gives OpenAI's.

    ``ended``: nothing more is said; ``failed``: with an error.
    """

    def __init__(self, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._counts = Counts()
        self._calls = 0
        self._open: dict[int, _OpenCall] = {}
        self._finished = False
        self.ended = self.failed = False
        self._set_head(f"chatcmpl-{uuid.uuid4().hex}", "")

    def say(self, block: bytes) -> bytes:
        """``block``: whole events, each ``data: payload\\n\\n``."""
        return b"".join([self._event(payload) for payload in payloads(block) if not self.ended])

    def close(self) -> bytes:
        """At the connection's end: what is still to be said of an answer that was finished."""
        return self._end() if self._finished and not self.ended else b""

    def _event(self, payload: bytes) -> bytes:
        if payload == b"[DONE]":  # some local servers add it
            return b""
        event = read(_decode, payload)
        if event is None:
            raise BrokenAnswer("the backend's stream is not one of Anthropic's API: check the provider's type")
        match event.type:
            case "content_block_delta" if event.delta:
                return self._piece(event.index, event.delta)
            case "message_start" if event.message:
                self._set_head(event.message.id, event.message.model)
                self._counts.seen(event.message.usage)
                return self._chunk({"role": "assistant", "content": ""})
            case "content_block_start" if event.content_block:
                return self._begin(event.index, event.content_block)
            case "content_block_stop":
                return self._complete(event.index)
            case "message_delta":
                self._counts.seen(event.usage)
                return self._finish(event.delta.stop_reason if event.delta else None)
            case "message_stop":
                return self._finish("end_turn") + self._end()
            case "error":
                self.ended = self.failed = True
                return b"data: " + error_of(payload, "the backend ended its answer with an error") + b"\n\n"
        return b""

    def _begin(self, index: int, block: Block) -> bytes:
        if block.type == "tool_use":
            self._open[index] = _OpenCall(self._calls, block)
            self._calls += 1
            return self._chunk({"tool_calls": [{"index": self._open[index].number, **tool_call(block, "")}]})
        return self._words(block.text, block.thinking)

    def _piece(self, index: int, delta: _Delta) -> bytes:
        if delta.partial_json is None:
            return self._words(delta.text, delta.thinking)
        call = self._open.get(index)
        if call is None or not delta.partial_json:
            return b""
        call.begun = True
        return self._arguments(call, delta.partial_json)

    def _complete(self, index: int) -> bytes:
        call = self._open.pop(index, None)
        return b"" if call is None or call.begun else self._arguments(call, call.whole)

    def _arguments(self, call: _OpenCall, piece: str) -> bytes:
        return self._chunk({"tool_calls": [{"index": call.number, "function": {"arguments": piece}}]})

    def _words(self, text: str | None, thinking: str | None) -> bytes:
        if text:
            return self._chunk({"content": text})
        return self._chunk({"reasoning_content": thinking}) if thinking else b""

    def _finish(self, stop_reason: str | None) -> bytes:
        if self._finished or stop_reason is None:
            return b""
        self._finished = True
        return self._chunk({}, finish_reason(stop_reason))

    def _end(self) -> bytes:
        self.ended = True
        if not self._include_usage:
            return DONE
        return b"data: " + self._head + b"[],\"usage\":" + encode(self._counts.usage()) + b"}\n\n" + DONE

    def _set_head(self, answer_id: str, model: str) -> None:
        head = {"id": answer_id, "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
        self._head = encode(head)[:-1] + b',"choices":'

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return b"data: " + self._head + encode([choice]) + b"}\n\n"


class TranslatedStream:
    """The body of a stream, itself one of ``Bytes``."""

    def __init__(self, upstream: Bytes, include_usage: bool) -> None:
        self._upstream = upstream
        self._events = EventReader(EVENT_BYTES)
        self._writer = ChunkWriter(include_usage)

    async def readany(self) -> bytes:
        if self._writer.failed:
            return b""
        while data := await self._upstream.readany():
            if said := self._writer.say(self._events.feed(data)):
                return said
        if self._writer.ended:
            return b""
        said = self._writer.say(self._events.rest()) + self._writer.close()
        if not self._writer.ended:
            raise CutOff("the stream ended before its message did")
        return said

    def at_eof(self) -> bool:
        return self._writer.failed or (self._writer.ended and self._upstream.at_eof())
