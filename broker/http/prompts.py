"""``/api/v1/prompts``: by id; made, edited and deleted by their owner, the owner of what they belong to, or an admin."""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from broker.errors import Unprocessable
from broker.library import Prompt
from broker.model import Ref

from .bodies import reply
from .context import PRINCIPAL, STORE
from .edits import named, owner_of, read_edit, shown, version_of
from .names import check_name

_CONTENT_BYTES = 256 << 10
_SCOPES = ("global", "project", "agent")


class PromptEdit(msgspec.Struct, rename="camel"):
    """A prompt as its owner writes it: all that ``POST`` needs, what changes in ``PATCH``.

    ``project`` and ``agent`` are named as a row shows them, or by a text; ``scope`` follows from them.
    """

    name: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    project: Ref | str | None | UnsetType = UNSET
    agent: Ref | str | None | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    # Of the row that was read before the edit: at another the edit is refused.
    version: int | UnsetType = UNSET


async def list_prompts(request: web.Request) -> web.Response:
    """Those of ``?project=`` or ``?agent=`` (id or name), of ``?scope=``, called ``?name=``; each may be left out."""
    scope, of = request.query.get("scope"), {family: request.query.get(family) for family in ("project", "agent")}
    places = [family for family, key in of.items() if key]
    if scope not in (None, *_SCOPES):
        raise Unprocessable(f"`scope` is one of {', '.join(_SCOPES)}.", param="scope")
    if len({*places, *([scope] if scope else [])}) > 1:
        raise Unprocessable("A prompt belongs to one project, to one agent, or to none: ask for one of them.", param="scope")
    prompts = request.app[STORE].prompts
    if places:
        found = await prompts.within(places[0], of[places[0]])
    elif scope == "global":
        found = await prompts.within("global", "")
    else:
        found = [prompt for prompt in await prompts.all() if scope in (None, prompt.scope)]
    name = request.query.get("name")
    return reply([prompt for prompt in found if name in (None, prompt.name)])


async def get_prompt(request: web.Request) -> web.Response:
    return shown(await request.app[STORE].prompts.prompt(request.match_info["prompt"]), 200)


async def create_prompt(request: web.Request) -> web.Response:
    asked = await read_edit(request, PromptEdit, Prompt)
    for field in ("name", "content"):
        if getattr(asked, field) is UNSET:
            raise Unprocessable(f"`{field}` is missing.", param=field)
    fields = _fields(asked)
    project, agent = named(asked.project or None), named(asked.agent or None)
    if project and agent:
        raise Unprocessable("A prompt belongs to a project, to an agent, or to none: not to both.", param="agent")
    scope = "project" if project else "agent" if agent else "global"
    if asked.scope not in (UNSET, scope):
        raise Unprocessable("`scope` follows from `project` and `agent`; leave it out.", param="scope")
    made = await request.app[STORE].prompts.create(
        **fields, scope=scope, of=project or agent, owner=request[PRINCIPAL].owner, whose=owner_of(request)
    )
    return shown(made, 201)


async def edit_prompt(request: web.Request) -> web.Response:
    asked = await read_edit(request, PromptEdit, Prompt)
    prompts = request.app[STORE].prompts
    prompt = await prompts.prompt(request.match_info["prompt"])
    fields = _fields(asked)
    _refuse_to_move(prompt, asked)
    version = version_of(request, asked.version)
    return shown(await prompts.edit(prompt, fields, version=version, owner=owner_of(request)), 200)


async def delete_prompt(request: web.Request) -> web.Response:
    prompts = request.app[STORE].prompts
    await prompts.delete(await prompts.prompt(request.match_info["prompt"]), owner=owner_of(request))
    return web.Response(status=204)


def _fields(asked: PromptEdit) -> dict[str, str]:
    """The fields that were given, checked, as they are stored."""
    if asked.name is not UNSET:
        check_name("name", asked.name)
    if asked.content is not UNSET and len(asked.content.encode()) > _CONTENT_BYTES:
        raise Unprocessable(f"`content` has at most {_CONTENT_BYTES:,} bytes.", param="content")
    return {name: value for name, value in (("name", asked.name), ("content", asked.content)) if value is not UNSET}


def _refuse_to_move(prompt: Prompt, asked: PromptEdit) -> None:
    for field in ("project", "agent"):
        now, given = getattr(prompt, field), getattr(asked, field)
        if given is not UNSET and named(given) not in ((now.name, now.id) if now else ("",)):
            raise Unprocessable("A prompt stays where it was made; make another one there.", param=field)
    if asked.scope not in (UNSET, prompt.scope):
        raise Unprocessable("A prompt stays where it was made; make another one there.", param="scope")
