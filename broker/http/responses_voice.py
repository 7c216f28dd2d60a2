"""Replies as OpenAI's Responses API gives them (``voice.Voice``)."""

from __future__ import annotations

import time
from typing import Any

from broker.dialects.openai_answer import encode, error_in
from broker.dialects.responses_answer import begun, response_id
from broker.dialects.responses_shape import Asked
from broker.dialects.responses_stream import EventWriter
from broker.relay.exchange import Exchange
from broker.relay.parts import Head

from .bodies import JSON
from .voice import AsItCame, Voice, spoken

EVENTS = "text/event-stream; charset=utf-8"


class ResponsesVoice(AsItCame):
    """``response`` None: the one that ``asked`` makes; else one that is kept, as it began. Its signs of life are OpenAI's."""

    translates = True

    def __init__(self, asked: Asked | None, response: dict[str, Any] | None = None, *, after: int = -1):
        super().__init__()
        self._asked = asked
        self._response = response
        self._after = after

    @property
    def ended(self) -> dict[str, Any] | None:
        """The response, once it has ended."""
        return self._writer.response if self._writer.ended else None

    def begin(self, exchange: Exchange) -> Voice:
        """A response is named after the request that made it, which may be one before this."""
        super().begin(exchange)
        if self._response is None:
            # What can be read again is to be the same then, so it says no time of its own.
            created_s = None if exchange.kept else int(time.time())
            self._response = begun(self._asked, response=response_id(exchange.task), created_s=created_s)
        self._writer = EventWriter(self._response, after=self._after)
        return self

    def head(self, head: Head) -> Head:
        return Head(head.status, {**head.headers, "content-type": EVENTS})

    def say(self, data: bytes) -> bytes:
        return spoken(self._writer.say, data)

    def end(self) -> bytes:
        self._end_now()
        return spoken(self._writer.close)

    def fail(self, status: int, error: dict) -> bytes:
        return self._writer.fail(status, error)

    def whole(self, head: Head, body: bytes) -> tuple[Head, bytes]:
        """The LLM's refusals are OpenAI's already."""
        if head.status >= 400:
            return head, body
        self._say_whole(body)
        return Head(head.status, {**head.headers, "content-type": JSON}), encode(self._writer.response)

    def whole_in_stream(self, head: Head, body: bytes) -> bytes:
        if head.status >= 400:
            return self.fail(head.status, error_in(body, head.status))
        return self._say_whole(body)

    def _say_whole(self, body: bytes) -> bytes:
        said = spoken(self._writer.say_whole, body)
        return said + self.end()

    def _end_now(self) -> None:
        if not self._exchange.kept:
            self._writer.completed_s = int(time.time())
