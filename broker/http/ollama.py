"""The Ollama front's inference: chat, generate and embeddings, before every LLM; agents chat.

The dialects translate; here are the calls and the voice of their replies. A name
may be said with ``:latest`` or without.
"""

from __future__ import annotations

import asyncio
from aiohttp import web

from broker.dialects import ollama_answer, ollama_request
from broker.dialects.ollama_shape import Chat, Embed, Generate
from broker.dialects.openai_answer import error_in
from broker.dialects.reading import reader
from broker.relay.exchange import Exchange
from broker.relay.parts import Head

from .answers import answer_model
from .bodies import JSON
from .calls import call_of, read_request, translated
from .embeddings import in_format
from .lookup import Model, asked_for
from .voice import spoken

LINES = "application/x-ndjson"
LATEST = ":latest"

_chat, _generate, _embed = reader(Chat), reader(Generate), reader(Embed)


async def chat(request: web.Request) -> web.StreamResponse:
    asked = translated(_chat, await read_request(request))
    if not asked.messages:
        return await _loaded(request, asked.model, chatting=True)
    body = translated(ollama_request.chat_of, asked)
    call = call_of(request, "chat", asked.model, body, streaming=asked.stream is not False)
    return await answer_model(request, call, OllamaVoice(asked.model, chatting=True), *spellings(asked.model))


async def generate(request: web.Request) -> web.StreamResponse:
    asked = translated(_generate, await read_request(request))
    if not (asked.prompt or asked.images):
        return await _loaded(request, asked.model, chatting=False)
    operation, body = translated(ollama_request.generation_of, asked)
    call = call_of(request, operation, asked.model, body, streaming=asked.stream is not False)
    return await answer_model(request, call, OllamaVoice(asked.model, chatting=False), *spellings(asked.model))


async def embed(request: web.Request) -> web.StreamResponse:
    return await _embeddings(request, single=False)


async def embeddings(request: web.Request) -> web.StreamResponse:
    """The older call: one text, one vector."""
    return await _embeddings(request, single=True)


async def find(request: web.Request, model: str) -> Model:
    """Whom ``asked_for`` finds, with ``:latest`` or without. Raises UnknownLLM."""
    return await asked_for(request, model, *spellings(model))


def spellings(model: str) -> list[str]:
    """How a name could be meant besides."""
    if model.endswith(LATEST):
        return [model.removesuffix(LATEST)]
    return [] if ":" in model else [model + LATEST]


async def _embeddings(request: web.Request, *, single: bool) -> web.StreamResponse:
    asked = translated(_embed, await read_request(request))
    call = call_of(request, "embeddings", asked.model, ollama_request.embedding_of(asked), streaming=False)
    return await answer_model(request, call, EmbeddingVoice(asked.model, single=single), *spellings(asked.model))


async def _loaded(request: web.Request, model: str, *, chatting: bool) -> web.Response:
    """A request without a prompt asks Ollama to load the model. Here the first real one wakes it."""
    await find(request, model)
    return web.Response(body=ollama_answer.loaded(model, chatting=chatting), content_type=JSON)


class OllamaVoice:
    """Replies as Ollama's API gives them (``voice.Voice``)."""

    translates = True

    def __init__(self, model: str, *, chatting: bool):
        self._model = model
        self._chatting = chatting
        self._writer = ollama_answer.LineWriter(model, self.durations, chatting=chatting)
        self._exchange: Exchange | None = None
        self._first_at: float | None = None

    def begin(self, exchange: Exchange) -> OllamaVoice:
        self._exchange = exchange
        return self

    def head(self, head: Head) -> Head:
        return Head(head.status, {**head.headers, "content-type": LINES})

    def wait(self) -> bytes:
        return self._writer.wait()

    def say(self, data: bytes) -> bytes:
        if self._first_at is None:
            self._first_at = asyncio.get_running_loop().time()
        return spoken(self._writer.say, data)

    def end(self) -> bytes:
        return spoken(self._writer.close)

    def fail(self, status: int, error: dict) -> bytes:
        return self._writer.fail(error)

    def whole(self, head: Head, body: bytes) -> tuple[Head, bytes]:
        if head.status >= 400:
            return refused(head, body)
        return plain(head), spoken(
            lambda: ollama_answer.answer_of(body, self._model, self.durations(), chatting=self._chatting)
        )

    def whole_in_stream(self, head: Head, body: bytes) -> bytes:
        if head.status >= 400:
            return self.fail(head.status, error_in(body, head.status))
        return spoken(self._writer.say_whole, body)

    def durations(self) -> dict[str, int]:
        """In ns, as measured here: in line or waking, to the first byte, from there to the end."""
        now, sent_at = asyncio.get_running_loop().time(), self._exchange.sent_at
        first_at = self._first_at or sent_at
        return {
            "total_duration": nanoseconds(now - self._exchange.started_at),
            "load_duration": nanoseconds(sent_at - self._exchange.started_at),
            "prompt_eval_duration": nanoseconds(first_at - sent_at),
            "eval_duration": nanoseconds(now - first_at),
        }


class EmbeddingVoice(OllamaVoice):
    """The same for embeddings, which are never a stream."""

    def __init__(self, model: str, *, single: bool):
        super().__init__(model, chatting=False)
        self._single = single

    def whole(self, head: Head, body: bytes) -> tuple[Head, bytes]:
        if head.status >= 400:
            return refused(head, body)
        times = self.durations()
        kept = {name: times[name] for name in ("total_duration", "load_duration")}
        vectors = in_format(body, "float")
        return plain(head), spoken(lambda: ollama_answer.embeddings_of(vectors, self._model, kept, single=self._single))


def nanoseconds(seconds: float) -> int:
    return max(0, int(seconds * 1e9))


def plain(head: Head) -> Head:
    return Head(head.status, {**head.headers, "content-type": JSON})


def refused(head: Head, body: bytes) -> tuple[Head, bytes]:
    return plain(head), ollama_answer.error_shape(error_in(body, head.status))
