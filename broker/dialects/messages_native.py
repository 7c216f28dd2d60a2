"""Anthropic's Messages API passed on: its server's answer on the way through, and its events for its client.

What is said stays the bytes that it was. Under way a stream is like every other: data payloads, ``[DONE]`` behind the
last; the names of the events are written anew at its end. Nothing is translated.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

from broker.dialects.broken import BrokenAnswer, CutOff
from broker.dialects.response import Bytes, Response
from broker.dialects.sse import DONE, EventReader, EventTooLarge, payloads

EVENT_BYTES = 16 << 20
EVENTS = "text/event-stream"
#: Nothing follows these.
LAST = (b"message_stop", b"error")

_KIND = re.compile(rb'\{"type": ?"(\w+)"')


class _Event(Struct):
    type: str = ""


_decode = msgspec.json.Decoder(_Event).decode


def kind_of(payload: bytes) -> bytes:
    """The type of an event; nothing for what names none."""
    if found := _KIND.match(payload):
        return found[1]
    try:
        kind = _decode(payload).type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b""
    return kind.encode() if re.fullmatch(r"\w+", kind, re.ASCII) else b""


class NativeAnswer:
    """The answer of a server that speaks the API (``response.py``). A stream of it that breaks off raises CutOff."""

    def __init__(self, response: Response, streaming: bool) -> None:
        self._response = response
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers
        self.content_type = response.content_type
        streams = streaming and self.status < 300 and self.content_type == EVENTS
        self.content: Bytes = NativeStream(response.content) if streams else response.content

    def close(self) -> None:
        self._response.close()


class NativeStream:
    """A stream's body as whole data events, with ``[DONE]`` behind the last."""

    def __init__(self, upstream: Bytes) -> None:
        self._upstream = upstream
        self._events = EventReader(EVENT_BYTES)
        self._ended = False

    async def readany(self) -> bytes:
        if self._ended:
            return await self._upstream.readany()
        while data := await self._upstream.readany():
            if block := self._up_to_its_end(self._events.feed(data)):
                return block
        if block := self._up_to_its_end(self._events.rest()):
            return block
        raise CutOff("the stream ended before it said that it was done")

    def at_eof(self) -> bool:
        return self._upstream.at_eof()

    def _up_to_its_end(self, block: bytes) -> bytes:
        if not any(kind in block for kind in LAST):
            return block
        said = payloads(block)
        for number, payload in enumerate(said, 1):
            if kind_of(payload) in LAST:
                self._ended = True
                return b"".join([b"data: %s\n\n" % one for one in said[:number]]) + DONE
        return block


class NamedEvents:
    """Takes data events in any pieces and gives them with their names, as the API's clients want them."""

    def __init__(self) -> None:
        self._events = EventReader(EVENT_BYTES)
        self.ended = False

    def say(self, data: bytes) -> bytes:
        """Raises BrokenAnswer."""
        try:
            return self._named(self._events.feed(data))
        except EventTooLarge:
            raise BrokenAnswer(f"the LLM's stream has an event of more than {EVENT_BYTES >> 20} MiB") from None

    def close(self) -> bytes:
        """At the end of the answer. Raises BrokenAnswer when its last event is missing."""
        said = self._named(self._events.rest())
        if not self.ended:
            raise BrokenAnswer("the LLM's stream ended before it said that it was done")
        return said

    def _named(self, block: bytes) -> bytes:
        said = []
        for payload in payloads(block):
            if self.ended or payload == b"[DONE]":
                continue
            kind = kind_of(payload)
            self.ended = kind in LAST
            said.append(b"event: %s\ndata: %s\n\n" % (kind, payload) if kind else b"data: %s\n\n" % payload)
        return b"".join(said)
