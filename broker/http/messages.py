"""The Anthropic front: ``/v1/messages`` and its ``count_tokens``, before every LLM and agent.

Here are the calls, and the voice of the replies that the dialects translate. An LLM that speaks
Anthropic's API itself gets the request as it came, and its reply goes out so (``native_voice.py``).
"""

from __future__ import annotations

from aiohttp import web
from msgspec import Struct, structs

from broker.dialects.messages_answer import error_shape, message_of
from broker.dialects.messages_request import estimated_tokens, read
from broker.dialects.messages_stream import PING, EventWriter
from broker.dialects.openai_answer import error_in
from broker.dialects.reading import reader
from broker.relay.exchange import Exchange
from broker.relay.parts import Head

from .answers import answer_model
from .bodies import JSON, reply
from .calls import call_of, read_request, translated
from .context import ID
from .lookup import Model, asked_for, model_id
from .message_words import CountWords, MessageWords, NotCounted, headers_of
from .native_voice import NativeVoice
from .refusals import MESSAGES_ID
from .voice import Voice, spoken

EVENTS = "text/event-stream; charset=utf-8"


class Asked(Struct):
    """The fields of a request that are read whoever answers."""

    model: str
    stream: bool | None = None
    stop_sequences: list[str] | None = None


_asked = reader(Asked)


async def messages(request: web.Request) -> web.StreamResponse:
    body = await read_request(request)
    asked = translated(_asked, body)
    call = call_of(request, "chat", asked.model, b"", streaming=bool(asked.stream))
    call = structs.replace(call, words=MessageWords(body, headers_of(request)))
    return await answer_model(request, call, MessagesVoice(request[ID], asked))


async def count_tokens(request: web.Request) -> web.StreamResponse:
    """The LLM's own count, where its API has one; else an estimate, and called one."""
    body = await read_request(request)
    asked = translated(_asked, body)
    call = call_of(request, CountWords.operation, asked.model, b"", streaming=False)
    call = structs.replace(call, words=CountWords(body, headers_of(request)))
    try:
        return await answer_model(request, call, NativeVoice(request[ID]))
    except NotCounted:
        await asked_for(request, asked.model)  # a name that nobody has is not counted either
        response = reply({"input_tokens": translated(estimated_tokens, translated(read, body)), "estimate": True})
        response.headers[MESSAGES_ID] = request[ID]
        return response


def asks(request: web.Request) -> bool:
    """Whether a client of Anthropic's API asks where both APIs have the same path."""
    return "anthropic-version" in request.headers


def model(row: Model) -> dict:
    """An LLM, pool or agent as Anthropic's model object."""
    name = model_id(row)
    return {"type": "model", "id": name, "display_name": row.name, "created_at": row.created_at, "lifecycle": "active"}


def models(rows: list[Model]) -> dict:
    """All of them on one page."""
    names = [model_id(row) for row in rows] or [None]
    return {"data": [model(row) for row in rows], "has_more": False, "first_id": names[0], "last_id": names[-1]}


class MessagesVoice:
    """Replies as Anthropic's API gives them (``voice.Voice``)."""

    translates = True

    def __init__(self, request_id: str, asked: Asked):
        self._id = request_id
        self._model = asked.model
        self._stops = asked.stop_sequences or []

    def begin(self, exchange: Exchange) -> Voice:
        """A message is named after the request that made it, which may be one before this."""
        self._id = exchange.task
        self._writer = EventWriter(self._id, self._model, self._stops)
        return NativeVoice(self._id) if exchange.native else self

    def head(self, head: Head) -> Head:
        return self._named(head, EVENTS)

    def wait(self) -> bytes:
        return PING

    def say(self, data: bytes) -> bytes:
        return spoken(self._writer.say, data)

    def end(self) -> bytes:
        return spoken(self._writer.close)

    def fail(self, status: int, error: dict) -> bytes:
        return self._writer.fail(status, error)

    def whole(self, head: Head, body: bytes) -> tuple[Head, bytes]:
        named = self._named(head, JSON)
        if head.status >= 400:
            return named, error_shape(head.status, error_in(body, head.status), self._id)
        return named, spoken(lambda: message_of(body, self._id, self._model, self._stops))

    def whole_in_stream(self, head: Head, body: bytes) -> bytes:
        if head.status >= 400:
            return self.fail(head.status, error_in(body, head.status))
        return spoken(self._writer.say_whole, body)

    def _named(self, head: Head, content_type: str) -> Head:
        return Head(head.status, {**head.headers, "content-type": content_type, MESSAGES_ID: self._id})
