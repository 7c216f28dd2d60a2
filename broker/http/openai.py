"""The OpenAI front: models, chat completions, completions, embeddings.

``model`` is an LLM's name, else an alias, a pool, an LLM's model, else an agent as ``agent/<name>``. Bodies and answers pass as they are, but for
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
from .embeddings import in_format
from .lookup import Model, asked_for, model_id, models


def model(row: Model) -> dict:
    """An LLM, pool or agent as OpenAI's model object, with what we know besides."""
    shown = {
        "id": model_id(row), "object": "model", "created": row.created_s, "owned_by": "reveille",
        "status": row.status, "model": row.model, "kind": row.kind, "description": row.description,
    }
    return shown if not isinstance(row, LLM) else {**shown, "tier": row.tier, "aliases": row.aliases}


async def list_models(request: web.Request) -> web.Response:
    rows = await models(request)
    if messages.asks(request):
        return reply(messages.models(rows))
    return reply({"object": "list", "data": [model(row) for row in rows]})


async def get_model(request: web.Request) -> web.Response:
    row = await asked_for(request, request.match_info["model"])
    return reply(messages.model(row) if messages.asks(request) else model(row))


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
