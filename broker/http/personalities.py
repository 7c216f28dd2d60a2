"""``/api/v1/personalities``: made, edited and deleted by their owner or an admin."""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from broker.errors import Unprocessable
from broker.library import Personality, PromptRef

from .bodies import reply
from .context import PRINCIPAL, STORE
from .edits import check_description, check_params, owner_of, read_edit, shown, stored, version_of
from .names import check_name

_PROMPTS = 64


class PersonalityEdit(msgspec.Struct, rename="camel"):
    """A personality as its owner writes it: all that ``POST`` needs, what changes in ``PATCH``.

    A prompt is named as a row shows it, by its id, or, one of no project or agent, by its name.
    """

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    prompts: list[PromptRef | str] | UnsetType = UNSET
    params: dict | UnsetType = UNSET
    # Of the row that was read before the edit: at another the edit is refused.
    version: int | UnsetType = UNSET


async def list_personalities(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].personalities.all())


async def get_personality(request: web.Request) -> web.Response:
    return shown(await request.app[STORE].personalities.personality(request.match_info["personality"]), 200)


async def create_personality(request: web.Request) -> web.Response:
    asked = await read_edit(request, PersonalityEdit, Personality)
    if not asked.name:
        raise Unprocessable("`name` is missing.", param="name")
    check_name("name", asked.name)
    made = {"description": "", "params": "{}", **_fields(asked)}
    personalities = request.app[STORE].personalities
    return shown(await personalities.create(asked.name, made, _prompts(asked) or [], owner=request[PRINCIPAL].owner), 201)


async def edit_personality(request: web.Request) -> web.Response:
    asked = await read_edit(request, PersonalityEdit, Personality)
    personalities = request.app[STORE].personalities
    personality = await personalities.personality(request.match_info["personality"])
    if asked.name not in (UNSET, personality.name):
        raise Unprocessable("A name cannot be changed; make another personality.", param="name")
    fields, prompts = _fields(asked), _prompts(asked)
    version = version_of(request, asked.version)
    return shown(await personalities.edit(personality, fields, prompts, version=version, owner=owner_of(request)), 200)


async def delete_personality(request: web.Request) -> web.Response:
    personalities = request.app[STORE].personalities
    personality = await personalities.personality(request.match_info["personality"])
    await personalities.delete(personality, owner=owner_of(request))
    return web.Response(status=204)


def _fields(asked: PersonalityEdit) -> dict[str, str]:
    """The fields that were given, checked, as they are stored; prompts apart."""
    check_description(asked.description)
    check_params("params", asked.params)
    given = {"description": asked.description, "params": stored(asked.params)}
    return {name: value for name, value in given.items() if value is not UNSET}


def _prompts(asked: PersonalityEdit) -> list[PromptRef] | None:
    """The prompts that were given, as they are looked for; None: none were."""
    if asked.prompts is UNSET:
        return None
    if len(asked.prompts) > _PROMPTS:
        raise Unprocessable(f"`prompts` has at most {_PROMPTS} entries.", param="prompts")
    refs = [ref if isinstance(ref, PromptRef) else PromptRef(ref, ref) for ref in asked.prompts]
    for ref in refs:
        if not (ref.id or ref.name) or (ref.project and ref.agent):
            raise Unprocessable('`prompts` names each by its id, or as {"name": …, "project"?: …, "agent"?: …}.', param="prompts")
    return refs
