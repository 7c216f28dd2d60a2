"""Which conversation a request belongs to, for pools that keep one with the member that had it (its prompt is cached there).

Said by ``X-Affinity-Key``, else by how it begins: the leading system messages and the first of the user. Of either only a
digest goes further. Nothing is decided here.
"""

from __future__ import annotations

import hashlib

import msgspec
from aiohttp import web

from broker.errors import Unprocessable

from .context import PRINCIPAL

KEY = "X-Affinity-Key"
_KEY_CHARS = 256
_LEADING = ("system", "developer")


class _Body(msgspec.Struct):
    messages: list[msgspec.Raw] = []


class _Message(msgspec.Struct):
    role: str = ""


_body = msgspec.json.Decoder(_Body).decode
_message = msgspec.json.Decoder(_Message).decode


def conversation(request: web.Request, operation: str, body: bytes) -> str:
    """A digest; '' for none. Raises Unprocessable."""
    key = request.headers.get(KEY)
    if key is None:
        return _beginning(body) if operation == "chat" else ""
    if not 0 < len(key) <= _KEY_CHARS:
        raise Unprocessable(f"{KEY} has from 1 to {_KEY_CHARS} characters.", param=KEY)
    # Others' conversations are not to be guessed.
    return _digest(request[PRINCIPAL].owner.encode(), key.encode("utf-8", "surrogateescape"))


def _beginning(body: bytes) -> str:
    try:
        messages = _body(body).messages
        first: list[bytes] = []
        for message in messages:
            first.append(bytes(message))
            if _message(message).role not in _LEADING:
                break
    except (msgspec.MsgspecError, RecursionError):
        # What is wrong with it the LLM's server says.
        return ""
    return _digest(*first) if first else ""


def _digest(*pieces: bytes) -> str:
    """Of the pieces and where each ends."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(b"%d:%s" % (len(piece), piece))
    return digest.hexdigest()[:32]
