"""OpenAI's Responses API, ``POST /v1/responses``: asked as a chat, answered as a response, and stored.

The dialects translate. A response is stored before its client hears its end, so that whoever goes on from it at once
finds it.
"""

from __future__ import annotations

import logging
from contextlib import aclosing

import msgspec
from aiohttp import web
from msgspec import Raw

from broker.dialects.openai_answer import encode
from broker.dialects.responses_answer import response_id
from broker.dialects.responses_items import items_of
from broker.dialects.responses_request import chat_of, read
from broker.dialects.responses_shape import Asked
from broker.errors import BadRequest, StoreUnavailable, TooLarge
from broker.store.responses import Stored, UnknownResponse

from . import background
from .answers import answer_model
from .background_stream import stream
from .bodies import JSON
from .calls import call_of, read_request, translated
from .context import BEFORE_END, ID, LIMITS, PRINCIPAL, STORE
from .responses_voice import ResponsesVoice

log = logging.getLogger(__name__)


class PreviousResponseNotFound(BadRequest):
    """There is no response of that id to go on from."""

    code = "previous_response_not_found"


class _Status(msgspec.Struct):
    status: str


class _Output(msgspec.Struct):
    output: list[Raw] = []


_status = msgspec.json.Decoder(_Status).decode
_output = msgspec.json.Decoder(_Output).decode
_items = msgspec.json.Decoder(list[Raw]).decode


async def create(request: web.Request) -> web.StreamResponse:
    asked = translated(read, await read_request(request))
    before = await context(request, asked.previous_response_id) if asked.previous_response_id else []
    items = translated(lambda given: items_of(given, response_id(request[ID])), asked.input)
    body = translated(lambda given: chat_of(given, before, items), asked)
    if before and len(body) > request.app[LIMITS].request_bytes:
        raise _too_long(request)
    call = call_of(request, "chat", asked.model, body, streaming=bool(asked.stream))
    if asked.background:
        stored = await background.begin(request, asked, call, items)
        if asked.stream:
            return await stream(request, stored, -1)
        return web.Response(body=await background.answer_now(request, stored), content_type=JSON)
    voice = ResponsesVoice(asked)

    async def keep() -> None:
        if asked.store is not False and voice.ended:
            await _keep(request, asked, items, voice.ended)

    request[BEFORE_END] = keep
    response = await answer_model(request, call, voice)
    if isinstance(response, web.Response):
        await keep()
    return response


async def context(request: web.Request, response: str) -> list[Raw]:
    """All that was said up to the end of that response, as items. Raises PreviousResponseNotFound, TooLarge."""
    store, owner, most = request.app[STORE].responses, request[PRINCIPAL].owner, request.app[LIMITS].request_bytes
    said: list[list[Raw]] = []
    size = 0
    try:
        async with aclosing(store.chain(response, owner, ttl_ms=ttl_ms(request))) as chain:
            async for stored in chain:
                said.append(said_in(stored if stored.ended else await _ended(request, response)))
                size += sum(map(len, said[-1]))
                if size > most:
                    raise _too_long(request)
    except UnknownResponse as why:
        raise PreviousResponseNotFound(why.message, param="previous_response_id") from None
    return [item for items in reversed(said) for item in items]


async def _ended(request: web.Request, response: str) -> Stored:
    """One in the background, which may have ended without anybody having looked. Raises PreviousResponseNotFound."""
    stored = await request.app[STORE].responses.get(response, request[PRINCIPAL].owner)
    answer = await background.answer_now(request, stored)
    if _status(answer).status in ("queued", "in_progress"):
        text = f"The response {response!r} has not ended yet; wait until its status says so."
        raise PreviousResponseNotFound(text, param="previous_response_id")
    return stored._replace(answer=answer)


def _too_long(request: web.Request) -> TooLarge:
    most = request.app[LIMITS].request_bytes
    text = f"With all that was said before it the request has more than {most:,} bytes; begin a new conversation, without previous_response_id."
    return TooLarge(text, param="previous_response_id")


def said_in(stored: Stored) -> list[Raw]:
    """The items of a stored response: what was asked, then what was answered; they do not hold the rest of it."""
    return [*_items(stored.input), *(item.copy() for item in _output(stored.answer).output)]


def ttl_ms(request: web.Request) -> int:
    return int(request.app[LIMITS].response_s * 1000)


async def _keep(request: web.Request, asked: Asked, items: list[Raw], response: dict) -> None:
    try:
        await request.app[STORE].responses.put(
            response["id"], request[PRINCIPAL].owner, ttl_ms=ttl_ms(request), created_s=response["created_at"],
            previous=asked.previous_response_id or "", items=encode(items), answer=encode(response),
        )
    except StoreUnavailable:
        # Its client has an answer, which is worth more to it than none.
        log.warning("response not stored: Redis is away", extra={"response": response["id"]})
