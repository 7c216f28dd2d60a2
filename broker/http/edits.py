"""Bodies that make or edit a row, and the row that answers them: fields that there are, the version that is edited.

What a row shows besides, as its status, may be in the body and is not looked at: a row that was read can be sent back.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from broker.errors import BadRequest, Unprocessable
from broker.model import LLM, Agent

from .bodies import decode, read_body, reply
from .context import LIMITS

_BODY_BYTES = 1 << 20

T = TypeVar("T")


async def read_edit(request: web.Request, kind: type[T], row: type[LLM] | type[Agent]) -> T:
    """The body as ``kind``; it may have the fields of such a row, and no other. Raises BadRequest, Unprocessable."""
    body = await read_body(request, _BODY_BYTES, request.app[LIMITS].body_s)
    asked = decode(body, kind)
    shown = {field.encode_name for field in msgspec.structs.fields(row)}
    unknown = sorted(set(decode(body, dict[str, msgspec.Raw])) - shown)
    if unknown:
        raise Unprocessable(f"An {row.__name__.replace('Agent', 'agent')} has no field `{unknown[0][:100]}`.", param=unknown[0][:100])
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


def shown(row: LLM | Agent, status: int) -> web.Response:
    response = reply(row, status)
    response.headers["ETag"] = f'"{row.version}"'
    return response
