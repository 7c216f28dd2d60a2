"""Public LLM rows: an admin makes and edits them. Reading and deleting is ``llms.py``'s.

An edit names only what changes. What a row shows besides, as its status, may be in
the body and is not looked at: a row that was read can be sent back.
"""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from broker.errors import BadRequest, Unprocessable
from broker.model import LLM
from broker.upstream.languages import TYPES

from .bodies import decode, read_body, reply
from .context import LIMITS, PRINCIPAL, STORE, UPSTREAMS
from .names import check_aliases, check_name

_BODY_BYTES = 1 << 20
_SHOWN = {field.encode_name for field in msgspec.structs.fields(LLM)}


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
    asked = await _read(request)
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
    return _shown(llm, 201)


async def edit_llm(request: web.Request) -> web.Response:
    asked = await _read(request)
    rows = request.app[STORE].rows
    key = request.match_info["llm"]
    fields = await _fields(request, asked)
    if asked.name is not UNSET and asked.name != (await rows.llm(key)).name:
        raise Unprocessable("A name cannot be changed; make another LLM, or give this one an alias.", param="name")
    return _shown(await rows.edit_llm(key, fields, version=_version(request, asked)), 200)


async def _read(request: web.Request) -> PublicLLM:
    body = await read_body(request, _BODY_BYTES, request.app[LIMITS].body_s)
    asked = decode(body, PublicLLM)
    unknown = sorted(set(decode(body, dict[str, msgspec.Raw])) - _SHOWN)
    if unknown:
        raise Unprocessable(f"An LLM has no field `{unknown[0][:100]}`.", param=unknown[0][:100])
    return asked


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
        "extraConfig": _json(asked.extra_config), "aliases": _json(asked.aliases),
    }
    return {name: value for name, value in given.items() if value is not UNSET}


def _json(value: object) -> str | UnsetType:
    return UNSET if value is UNSET else msgspec.json.encode(value).decode()


def _version(request: web.Request, asked: PublicLLM) -> int | None:
    """Which version the edit is of, as the body or ``If-Match`` says; None: whichever it is at."""
    text = request.headers.get("If-Match", "*").strip()
    if text == "*":
        return None if asked.version is UNSET else asked.version
    try:
        version = int(text.removeprefix("W/").strip('"'))
    except ValueError:
        raise BadRequest('If-Match is the version of the row that was read, as "3".', param="If-Match") from None
    if asked.version not in (UNSET, version):
        raise BadRequest("If-Match and `version` are not the same.", param="If-Match")
    return version


def _shown(llm: LLM, status: int) -> web.Response:
    response = reply(llm, status)
    response.headers["ETag"] = f'"{llm.version}"'
    return response
