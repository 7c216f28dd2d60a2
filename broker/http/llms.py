"""``/api/v1/llms``: rows, and inference by name."""

from __future__ import annotations

from aiohttp import web

from broker.errors import Forbidden

from .answers import answer
from .bodies import reply
from .calls import read_call
from .context import PRINCIPAL, STORE


async def list_llms(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].rows.llms())


async def get_llm(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].rows.llm(request.match_info["llm"]))


async def delete_llm(request: web.Request) -> web.Response:
    principal = request[PRINCIPAL]
    if not principal.may("publisher"):
        raise Forbidden("Deleting an LLM needs a token with the role 'publisher' (its owner's) or 'admin'.")
    owner = None if principal.may("admin") else principal.owner
    await request.app[STORE].rows.delete_llm(request.match_info["llm"], owner=owner)
    return web.Response(status=204)


async def infer(request: web.Request) -> web.StreamResponse:
    call, _ = await read_call(request, "chat", request.match_info["llm"])
    return await answer(request, call)
