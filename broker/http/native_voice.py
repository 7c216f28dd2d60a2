"""The voice of the Anthropic front where the LLM speaks Anthropic's API itself: what it says goes out as it came.

Only the names of a stream's events are written here, and what the LLM cannot say: waiting, our own refusals.
"""

from __future__ import annotations

from broker.dialects.messages_answer import error_shape
from broker.dialects.messages_native import NamedEvents, kind_of
from broker.dialects.messages_stream import PING
from broker.dialects.openai_answer import error_in
from broker.errors import BackendFailed
from broker.relay.exchange import Exchange
from broker.relay.parts import Head

from .refusals import MESSAGES_ID
from .voice import spoken


class NativeVoice:
    """``voice.Voice``."""

    translates = False

    def __init__(self, request_id: str):
        self._id = request_id
        self._events = NamedEvents()

    def begin(self, exchange: Exchange) -> NativeVoice:
        return self

    def head(self, head: Head) -> Head:
        """The upstream's own id of the request is the one that its support asks for."""
        return Head(head.status, {MESSAGES_ID: self._id, **head.headers})

    def wait(self) -> bytes:
        return PING

    def say(self, data: bytes) -> bytes:
        return spoken(self._events.say, data)

    def end(self) -> bytes:
        return spoken(self._events.close)

    def fail(self, status: int, error: dict) -> bytes:
        return b"" if self._events.ended else _event(error_shape(status, error, self._id))

    def whole(self, head: Head, body: bytes) -> tuple[Head, bytes]:
        return self.head(head), body

    def whole_in_stream(self, head: Head, body: bytes) -> bytes:
        if head.status < 400:
            raise BackendFailed("The LLM's server answered whole where a stream was asked for, and the stream had begun.")
        said = b" ".join(body.splitlines()).strip()
        return _event(said) if kind_of(said) == b"error" else self.fail(head.status, error_in(body, head.status))


def _event(error: bytes) -> bytes:
    return b"event: error\ndata: %s\n\n" % error
