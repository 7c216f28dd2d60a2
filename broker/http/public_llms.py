"""Public LLM rows: an admin makes and edits them. Reading and deleting is ``llms.py``'s.

An edit names only what changes.
"""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from broker.errors import Unprocessable
from broker.model import LLM
from broker.upstream.languages import TYPES

from .context import PRINCIPAL, STORE, UPSTREAMS
from .edits import read_edit, shown, stored, version_of
from .names import check_aliases, check_name


class PublicLLM(msgspec.Struct, rename="camel"):
    """A public LLM as an admin writes it: all that ``POST`` needs, what changes in ``PATCH``."""

    name: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    tier: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    api_key_ref: str | None | UnsetType = UNSET
    extra_config: dict | UnsetType = UNSET
    aliases: list[str] | UnsetType = UNSET
    # Of the row that was read before the edit: at another the edit is refused.
    version: int | UnsetType = UNSET


async def create_llm(request: web.Request) -> web.Response:
    asked = await read_edit(request, PublicLLM, LLM)
    for name in ("name", "url"):
        if not getattr(asked, name):
            raise Unprocessable(f"`{name}` is missing.", param=name)
    check_name("name", asked.name)
    fields = await _fields(request, asked)
    made = {
        "type": "openai", "model": asked.name, "tier": "fast", "description": "", "extraConfig": "{}",
        "apiKeyRef": "", "aliases": "[]", **fields,
    }
    llm = await request.app[STORE].rows.create_llm(asked.name, made, owner=request[PRINCIPAL].owner)
    return shown(llm, 201)


async def edit_llm(request: web.Request) -> web.Response:
    asked = await read_edit(request, PublicLLM, LLM)
    rows = request.app[STORE].rows
    key = request.match_info["llm"]
    fields = await _fields(request, asked)
    if asked.name is not UNSET and asked.name != (await rows.llm(key)).name:
        raise Unprocessable("A name cannot be changed; make another LLM, or give this one an alias.", param="name")
    return shown(await rows.edit_llm(key, fields, version=version_of(request, asked.version)), 200)


async def _fields(request: web.Request, asked: PublicLLM) -> dict[str, str]:
    """The fields that were given, checked, as they are stored."""
    if asked.type is not UNSET and asked.type not in TYPES:
        raise Unprocessable(f"`type` is one of {', '.join(TYPES)}.", param="type")
    if asked.tier is not UNSET and asked.tier not in ("fast", "heavy"):
        raise Unprocessable("`tier` is `fast` or `heavy`.", param="tier")
    if asked.model == "":
        raise Unprocessable("`model` is empty; it is the model's name at the upstream.", param="model")
    if asked.aliases is not UNSET:
        check_aliases("aliases", asked.aliases)
    if asked.url is not UNSET:
        await request.app[UPSTREAMS].guard.check(asked.url)
    given = {
        "type": asked.type, "model": asked.model, "url": asked.url, "tier": asked.tier, "description": asked.description,
        "apiKeyRef": "" if asked.api_key_ref is None else asked.api_key_ref,
        "extraConfig": stored(asked.extra_config), "aliases": stored(asked.aliases),
    }
    return {name: value for name, value in given.items() if value is not UNSET}
