"""The OpenAI front: models, chat completions, completions, embeddings.

``model`` is an LLM's name, else an alias. Bodies and answers pass as they are, but for
embeddings in a form that the backend does not know. The model list has a path in common
with Anthropic's, whose clients get it in their shape.
"""

from __future__ import annotations

from aiohttp import web

from broker.model import LLM

from . import messages
from .answers import answer_model
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
    if messages.asks(request):
        return reply(messages.models(llms))
    return reply({"object": "list", "data": [model(llm) for llm in llms]})


async def get_model(request: web.Request) -> web.Response:
    llm = await request.app[STORE].rows.llm_asked_for(request.match_info["model"])
    return reply(messages.model(llm) if messages.asks(request) else model(llm))


async def chat_completions(request: web.Request) -> web.StreamResponse:
    call, _ = await read_call(request, "chat")
    return await answer_model(request, call)


async def completions(request: web.Request) -> web.StreamResponse:
    call, _ = await read_call(request, "completions")
    return await answer_model(request, call)


async def embeddings(request: web.Request) -> web.StreamResponse:
    call, asked = await read_call(request, "embeddings")
    response = await answer_model(request, call)
    if isinstance(response, web.Response) and response.status == 200:
        response.body = in_format(response.body, asked.encoding_format or "float")
    return response
