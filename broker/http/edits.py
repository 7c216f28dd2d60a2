"""Bodies that make or edit a row, and the row that answers them: fields that there are, the version that is edited.

What a row shows besides, as its status, may be in the body and is not looked at: a row that was read can be sent back.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from broker.chat.block import CALLERS_OWN
from broker.errors import BadRequest, Unprocessable
from broker.library import Personality, Project, Prompt
from broker.model import LLM, Agent, Ref
from broker.pool import Pool
from broker.threads import Thread

from .bodies import decode, read_body, reply
from .context import LIMITS, PRINCIPAL

_BODY_BYTES = 1 << 20
_DESCRIPTION_BYTES = 4 << 10

T = TypeVar("T")
Row = LLM | Agent | Pool | Project | Personality | Prompt | Thread


async def read_edit(request: web.Request, kind: type[T], row: type[Row]) -> T:
    """The body as ``kind``; it may have the fields of such a row, and no other. Raises BadRequest, Unprocessable."""
    body = await read_body(request, _BODY_BYTES, request.app[LIMITS].body_s)
    asked = decode(body, kind)
    shown = {field.encode_name for field in msgspec.structs.fields(row)}
    unknown = sorted(set(decode(body, dict[str, msgspec.Raw])) - shown)
    if unknown:
        kind_of_row = {LLM: "An LLM", Agent: "An agent"}.get(row) or f"A {row.__name__.lower()}"
        raise Unprocessable(f"{kind_of_row} has no field `{unknown[0][:100]}`.", param=unknown[0][:100])
    return asked


def version_of(request: web.Request, in_body: int | UnsetType) -> int | None:
    """Which version the edit is of, as the body or ``If-Match`` says; None: whichever it is at."""
    text = request.headers.get("If-Match", "*").strip()
    if text == "*":
        return None if in_body is UNSET else in_body
    try:
        version = int(text.removeprefix("W/").strip('"'))
    except ValueError:
        raise BadRequest('If-Match is the version of the row that was read, as "3".', param="If-Match") from None
    if in_body not in (UNSET, version):
        raise BadRequest("If-Match and `version` are not the same.", param="If-Match")
    return version


def stored(value: object) -> str | UnsetType:
    """A JSON value as rows keep it."""
    return UNSET if value is UNSET else msgspec.json.encode(value).decode()


def owner_of(request: web.Request) -> str | None:
    """Whose rows the caller may change; None: everybody's."""
    principal = request[PRINCIPAL]
    return None if principal.may("admin") else principal.owner


def named(ref: Ref | str | None) -> str:
    """What a reference names: a row that was read says both, and its name counts."""
    if isinstance(ref, Ref):
        return ref.name or ref.id or ""
    return ref or ""


def check_params(place: str, params: dict | UnsetType) -> None:
    """Parameters that are laid over calls. Raises Unprocessable for what is the caller's own."""
    for name in CALLERS_OWN:
        if params is not UNSET and name in params:
            raise Unprocessable(f"`{place}` cannot set `{name}`: it is the caller's.", param=place)


def check_description(text: str | UnsetType) -> None:
    """Raises Unprocessable."""
    if text is not UNSET and len(text.encode()) > _DESCRIPTION_BYTES:
        raise Unprocessable(f"`description` has at most {_DESCRIPTION_BYTES:,} bytes.", param="description")


def shown(row: Row, status: int) -> web.Response:
    response = reply(row, status)
    response.headers["ETag"] = f'"{row.version}"'
    return response
