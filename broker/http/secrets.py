"""``/api/v1/secrets``: an admin's, to be named by ``apiKeyRef``. Values come in and never out."""

from __future__ import annotations

import re

import msgspec
from aiohttp import web

from broker.errors import Unprocessable

from .bodies import decode, read_body, reply
from .context import LIMITS, STORE, VAULT

_BODY_BYTES = 64 << 10
_LONGEST = 16_384
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
#: A key goes into a header.
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class SecretValue(msgspec.Struct):
    """The body of ``PUT``."""

    value: str

    def __repr__(self) -> str:
        return "SecretValue()"


async def put_secret(request: web.Request) -> web.Response:
    name = request.match_info["secret"]
    if not _NAME.fullmatch(name):
        raise Unprocessable("A secret's name has 1 to 128 of: letters, digits, `_`, `.`, `-`.", param="name")
    value = decode(await read_body(request, _BODY_BYTES, request.app[LIMITS].body_s), SecretValue).value
    if len(value) > _LONGEST or not _VALUE.fullmatch(value):
        raise Unprocessable(
            f"`value` has 1 to {_LONGEST:,} printable ASCII characters, no space or line break around it.", param="value"
        )
    sealed, key = request.app[VAULT].seal(name, value)
    new, secret = await request.app[STORE].secrets.put(name, sealed, key)
    return reply(secret, 201 if new else 200)


async def list_secrets(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].secrets.list(request.app[VAULT].current_key))


async def delete_secret(request: web.Request) -> web.Response:
    await request.app[STORE].secrets.delete(request.match_info["secret"])
    return web.Response(status=204)
