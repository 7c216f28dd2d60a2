"""The Ollama front's listings: our rows as programs know models that know Ollama only.

Ollama tells much of a model's file that nobody here knows. Such fields are there and
empty; a row's ``extraConfig`` may tell ``capabilities`` and ``contextLength``.
"""

from __future__ import annotations

import hashlib

from aiohttp import web

from broker import __version__
from broker.dialects.ollama_shape import Show
from broker.dialects.reading import reader
from broker.errors import BadRequest
from broker.model import Agent

from .bodies import reply
from .calls import read_request, translated
from .context import STORE
from .lookup import Model, model_id, models
from .ollama import find

#: The version of Ollama whose API this is; clients refuse to talk to older ones.
API_VERSION = "0.13.0"
#: What every LLM of a chat can do as far as we know: tools are passed on.
CAPABILITIES = ["completion", "tools"]

_show = reader(Show)


async def version(request: web.Request) -> web.Response:
    return reply({"version": API_VERSION, "reveille": __version__})


async def tags(request: web.Request) -> web.Response:
    return reply({"models": [listed(row) for row in await models(request)]})


async def ps(request: web.Request) -> web.Response:
    """Those that answer without being woken first."""
    llms = await request.app[STORE].rows.llms()
    ready = [llm for llm in llms if llm.status == "active" and (llm.channel or llm.kind == "public")]
    return reply({"models": [{**listed(llm), "size_vram": 0} for llm in ready]})


async def show(request: web.Request) -> web.Response:
    asked = translated(_show, await read_request(request))
    name = asked.model or asked.name
    if not name:
        raise BadRequest("`model` is missing; GET /api/tags lists the possible ones.", param="model")
    llm = await find(request, name)
    info: dict[str, object] = {"general.architecture": family(llm), "general.basename": llm.model or llm.llm.name}
    extra = {} if isinstance(llm, Agent) else llm.extra_config
    length = extra.get("contextLength")
    if isinstance(length, int):
        info[f"{family(llm)}.context_length"] = length
    told = extra.get("capabilities")
    return reply({
        "modelfile": "", "parameters": "", "template": "", "license": "", "details": details(llm),
        "model_info": info, "capabilities": told if isinstance(told, list) else CAPABILITIES,
        "modified_at": llm.updated_at, "status": llm.status, "description": llm.description,
    })


def listed(llm: Model) -> dict[str, object]:
    return {
        "name": model_id(llm), "model": model_id(llm), "modified_at": llm.updated_at, "size": 0,
        # Clients tell models apart by it; it is made of the row's id.
        "digest": hashlib.sha256(llm.id.encode()).hexdigest(),
        "details": details(llm), "status": llm.status, "description": llm.description,
    }


def details(llm: Model) -> dict[str, object]:
    return {
        "parent_model": "", "format": "", "family": family(llm), "families": [family(llm)],
        "parameter_size": "", "quantization_level": "",
    }


def family(row: Model) -> str:
    return "agent" if isinstance(row, Agent) else row.type
