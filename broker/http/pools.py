"""``/api/v1/pools``: LLMs that are asked by one name. Admins make, edit and delete pools; an edit names only what changes."""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from broker.errors import Unprocessable
from broker.pool import Member, Pool

from .bodies import reply
from .context import PRINCIPAL, STORE
from .edits import read_edit, shown, stored, version_of
from .names import check_name

MEMBERS, TIERS, WEIGHTS, STARS = 1000, 10, (0.1, 100), 3


class EditedPool(msgspec.Struct, rename="camel"):
    """A pool as an admin writes it: all that ``POST`` needs, what changes in ``PATCH``."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    members: list[Member] | UnsetType = UNSET
    affinity: bool | UnsetType = UNSET
    # Of the row that was read before the edit: at another the edit is refused.
    version: int | UnsetType = UNSET


async def list_pools(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].pool_rows.all())


async def get_pool(request: web.Request) -> web.Response:
    return shown(await request.app[STORE].pool_rows.pool(request.match_info["pool"]), 200)


async def create_pool(request: web.Request) -> web.Response:
    asked = await read_edit(request, EditedPool, Pool)
    if not asked.name:
        raise Unprocessable("`name` is missing.", param="name")
    check_name("name", asked.name)
    if asked.members is UNSET:
        raise Unprocessable("`members` is missing.", param="members")
    made = {"description": "", "affinity": "1", **_fields(asked)}
    return shown(await request.app[STORE].pool_rows.create(asked.name, made, owner=request[PRINCIPAL].owner), 201)


async def edit_pool(request: web.Request) -> web.Response:
    asked = await read_edit(request, EditedPool, Pool)
    name = request.match_info["pool"]
    if asked.name not in (UNSET, name):
        raise Unprocessable("A name cannot be changed; make another pool.", param="name")
    version = version_of(request, asked.version)
    return shown(await request.app[STORE].pool_rows.edit(name, _fields(asked), version=version), 200)


async def delete_pool(request: web.Request) -> web.Response:
    await request.app[STORE].pool_rows.delete(request.match_info["pool"])
    return web.Response(status=204)


def _fields(asked: EditedPool) -> dict[str, str]:
    """The fields that were given, checked, as they are stored."""
    if asked.members is not UNSET:
        _check(asked.members)
    given = {
        "description": asked.description, "members": stored(asked.members),
        "affinity": UNSET if asked.affinity is UNSET else str(int(asked.affinity)),
    }
    return {name: value for name, value in given.items() if value is not UNSET}


def _check(members: list[Member]) -> None:
    if not 1 <= len(members) <= MEMBERS:
        raise Unprocessable(f"`members`: 1 to {MEMBERS:,} of them.", param="members")
    for number, member in enumerate(members):
        place = f"members[{number}]"
        if (member.llm is None) == (member.selector is None):
            raise Unprocessable(f"{place} has either an `llm` or a `selector`.", param=place)
        if member.llm is not None:
            check_name(f"{place}.llm", member.llm)
        elif not msgspec.to_builtins(member.selector):
            raise Unprocessable(f"{place}.selector says nothing: `model`, `tier`, `kind`, `name`.", param=place)
        elif member.selector.tier not in (None, "fast", "heavy") or member.selector.kind not in (None, "public", "virtual"):
            raise Unprocessable(f"{place}.selector: `tier` is fast or heavy, `kind` is public or virtual.", param=place)
        elif len(member.selector.name or "") > 128 or (member.selector.name or "").count("*") > STARS:
            raise Unprocessable(f"{place}.selector.name: at most 128 characters and {STARS} `*`.", param=place)
        if not WEIGHTS[0] <= member.weight <= WEIGHTS[1]:
            raise Unprocessable(f"{place}.weight is from {WEIGHTS[0]} to {WEIGHTS[1]}.", param=f"{place}.weight")
        if not 0 <= member.tier < TIERS:
            raise Unprocessable(f"{place}.tier is from 0 to {TIERS - 1}.", param=f"{place}.tier")
