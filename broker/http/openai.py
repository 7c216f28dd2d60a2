"""The OpenAI front: models, chat completions, completions, embeddings.

``model`` is an LLM's name, else an alias. Bodies and answers pass as they are, but for
embeddings in a form that the backend does not know.
"""

from __future__ import annotations

from aiohttp import web
from msgspec import structs

from broker.errors import UnknownLLM
from broker.model import LLM
from broker.relay.relay import Call

from .answers import answer
from .bodies import reply
from .calls import read_call
from .context import STORE
from .embeddings import in_format


def model(llm: LLM) -> dict:
    """An LLM as OpenAI's model object, with what we know besides."""
    return {
        "id": llm.name, "object": "model", "created": llm.created_s, "owned_by": "reveille",
        "status": llm.status, "model": llm.model, "kind": llm.kind, "tier": llm.tier, "description": llm.description,
        "aliases": llm.aliases,
    }


async def list_models(request: web.Request) -> web.Response:
    llms = await request.app[STORE].rows.llms()
    return reply({"object": "list", "data": [model(llm) for llm in llms]})


async def get_model(request: web.Request) -> web.Response:
    return reply(model(await request.app[STORE].rows.llm_asked_for(request.match_info["model"])))


async def chat_completions(request: web.Request) -> web.StreamResponse:
    call, _ = await read_call(request, "chat")
    return await _answer(request, call)


async def completions(request: web.Request) -> web.StreamResponse:
    call, _ = await read_call(request, "completions")
    return await _answer(request, call)


async def embeddings(request: web.Request) -> web.StreamResponse:
    call, asked = await read_call(request, "embeddings")
    response = await _answer(request, call)
    if isinstance(response, web.Response) and response.status == 200:
        response.body = in_format(response.body, asked.encoding_format or "float")
    return response


async def _answer(request: web.Request, call: Call) -> web.StreamResponse:
    """Aliases are looked up only when there is no such name: that costs the usual case nothing."""
    try:
        return await answer(request, call)
    except UnknownLLM:
        llm = await request.app[STORE].rows.behind_alias(call.llm)
        if llm is None:
            raise
    return await answer(request, structs.replace(call, llm=llm.name))
