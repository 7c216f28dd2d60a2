"""OpenAI's Responses API, ``POST /v1/responses``: asked as a chat, answered as a response, and stored.

The dialects translate. A response is stored before its client hears its end, so that whoever goes on from it at once
finds it.
"""

from __future__ import annotations

import logging

import msgspec
from aiohttp import web
from msgspec import Raw

from broker.dialects.openai_answer import encode
from broker.dialects.responses_answer import response_id
from broker.dialects.responses_items import items_of
from broker.dialects.responses_request import chat_of, read
from broker.dialects.responses_shape import Asked
from broker.errors import BadRequest, StoreUnavailable
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


class _Output(msgspec.Struct):
    output: list[Raw] = []


_output = msgspec.json.Decoder(_Output).decode
_items = msgspec.json.Decoder(list[Raw]).decode


async def create(request: web.Request) -> web.StreamResponse:
    asked = translated(read, await read_request(request))
    before = await context(request, asked.previous_response_id) if asked.previous_response_id else []
    items = translated(lambda given: items_of(given, response_id(request[ID])), asked.input)
    body = translated(lambda given: chat_of(given, before, items), asked)
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
    """All that was said up to the end of that response, as items. Raises PreviousResponseNotFound."""
    store, owner = request.app[STORE].responses, request[PRINCIPAL].owner
    try:
        chain = await store.chain(response, owner, ttl_ms=ttl_ms(request))
    except UnknownResponse as why:
        raise PreviousResponseNotFound(why.message, param="previous_response_id") from None
    if not chain[-1].ended:
        text = f"The response {response!r} has not ended yet; wait until its status says so."
        raise PreviousResponseNotFound(text, param="previous_response_id")
    return [item for stored in chain for item in said_in(stored)]


def said_in(stored: Stored) -> list[Raw]:
    """The items of a stored response: what was asked, then what was answered."""
    return [*_items(stored.input), *_output(stored.answer).output]


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
