"""Stored responses of OpenAI's Responses API: read, listed item by item, deleted."""

from __future__ import annotations

from contextlib import aclosing

import msgspec
from aiohttp import web
from msgspec import Raw

from broker.errors import BadRequest
from broker.unknown import UnknownJob

from .background import answer_now, stop
from .background_stream import stream
from .bodies import JSON, reply
from .context import PRINCIPAL, STORE
from .pages import page_of
from .responses import said_in, ttl_ms

_items = msgspec.json.Decoder(list[Raw]).decode


class _Named(msgspec.Struct):
    id: str


_named = msgspec.json.Decoder(_Named).decode


async def get_response(request: web.Request) -> web.StreamResponse:
    stored = await request.app[STORE].responses.get(request.match_info["response"], request[PRINCIPAL].owner)
    if request.query.get("stream", "false") != "true":
        return web.Response(body=await answer_now(request, stored), content_type=JSON)
    after = request.query.get("starting_after", "-1")
    if not after.removeprefix("-").isdecimal():
        raise BadRequest("`starting_after` is the sequence_number of the last event that you have.", param="starting_after")
    try:
        if not stored.job:
            raise UnknownJob()
        return await stream(request, stored, int(after))
    except UnknownJob:
        text = "Only a response in the background has a stream that can be read again, for a day after its end; leave `stream` out."
        raise BadRequest(text, param="stream") from None


async def delete_response(request: web.Request) -> web.Response:
    response = request.match_info["response"]
    if job := await request.app[STORE].responses.delete(response, request[PRINCIPAL].owner):
        await stop(request, job)
    return reply({"id": response, "object": "response", "deleted": True})


async def input_items(request: web.Request) -> web.Response:
    """All that the LLM was given, the newest first: what was asked, and what was said in the responses before."""
    store, owner = request.app[STORE].responses, request[PRINCIPAL].owner
    said: list[list[Raw]] = []
    async with aclosing(store.chain(request.match_info["response"], owner, ttl_ms=ttl_ms(request))) as chain:
        async for stored in chain:
            said.append(said_in(stored) if said else _items(stored.input))
    items = [item for some in reversed(said) for item in some]
    return reply(page_of(request, items, lambda item: _named(item).id, default="desc"))
