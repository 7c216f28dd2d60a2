"""``/api/v1/agents``: every agent; public ones are made, edited and deleted by their owner or an admin.

A virtual agent is its publisher's: here it can be read and deleted only. How agents
answer as models is in ``answers.py`` and ``broker/chat/``.
"""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from broker.errors import Forbidden, Unprocessable
from broker.model import Agent, Ref

from .bodies import reply
from .context import PRINCIPAL, STORE
from .edits import check_params, named, owner_of, read_edit, shown, stored, version_of
from .names import check_name

_NAME = 128


class PublicAgent(msgspec.Struct, rename="camel"):
    """A public agent as its owner writes it: all that ``POST`` needs, what changes in ``PATCH``.

    ``llm``, ``project`` and ``default_personality`` are named as a row shows them, or by a text.
    """

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    system_prompt: str | UnsetType = UNSET
    llm: Ref | str | None | UnsetType = UNSET
    model: str | None | UnsetType = UNSET
    project: Ref | str | None | UnsetType = UNSET
    default_personality: Ref | str | None | UnsetType = UNSET
    default_params: dict | UnsetType = UNSET
    extras: dict | UnsetType = UNSET
    # Of the row that was read before the edit: at another the edit is refused.
    version: int | UnsetType = UNSET


async def list_agents(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].agents.all())


async def get_agent(request: web.Request) -> web.Response:
    return shown(await request.app[STORE].agents.agent(request.match_info["agent"]), 200)


async def create_agent(request: web.Request) -> web.Response:
    asked = await read_edit(request, PublicAgent, Agent)
    if not asked.name:
        raise Unprocessable("`name` is missing.", param="name")
    check_name("name", asked.name)
    fields = _fields(asked)
    if "llm" not in fields:
        raise Unprocessable("`llm` is missing: the LLM that answers, or else a `model`.", param="llm")
    made = {
        "description": "", "systemPrompt": "", "project": "", "personality": "", "defaultParams": "{}", "extras": "{}", **fields,
    }
    return shown(await request.app[STORE].agents.create(asked.name, made, owner=request[PRINCIPAL].owner), 201)


async def edit_agent(request: web.Request) -> web.Response:
    asked = await read_edit(request, PublicAgent, Agent)
    agents = request.app[STORE].agents
    key = request.match_info["agent"]
    fields = _fields(asked)
    if asked.name is not UNSET and asked.name != (await agents.agent(key)).name:
        raise Unprocessable("A name cannot be changed; make another agent.", param="name")
    version = version_of(request, asked.version)
    return shown(await agents.edit(key, fields, version=version, owner=owner_of(request)), 200)


async def delete_agent(request: web.Request) -> web.Response:
    agents = request.app[STORE].agents
    agent = await agents.agent(request.match_info["agent"])
    role = "publisher" if agent.kind == "virtual" else "client"
    if not request[PRINCIPAL].may(role):
        raise Forbidden(f"Deleting a {agent.kind} agent needs a token with the role {role!r} (its owner's) or 'admin'.")
    await agents.delete(agent, owner=owner_of(request))
    return web.Response(status=204)


def _fields(asked: PublicAgent) -> dict[str, str]:
    """The fields that were given, checked, as they are stored."""
    check_params("defaultParams", asked.default_params)
    given = {
        "description": asked.description, "systemPrompt": asked.system_prompt,
        "project": UNSET if asked.project is UNSET else named(asked.project),
        "personality": UNSET if asked.default_personality is UNSET else named(asked.default_personality),
        "defaultParams": stored(asked.default_params), "extras": stored(asked.extras), **_answering(asked),
    }
    return {name: value for name, value in given.items() if value is not UNSET}


def _answering(asked: PublicAgent) -> dict[str, str]:
    """Who is to answer: an LLM, or whichever has that model; both are stored, one of them empty."""
    if asked.llm is UNSET and asked.model is UNSET:
        return {}
    llm = "" if asked.llm is UNSET else named(asked.llm)
    model = asked.model or ""
    if bool(llm) == bool(model):
        raise Unprocessable("An agent has either an `llm` or a `model`.", param="llm")
    if len(model) > _NAME:
        raise Unprocessable(f"`model` has at most {_NAME} characters.", param="model")
    return {"llm": llm, "model": model}
