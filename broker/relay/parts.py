"""What a reply is made of on its way from a result call to the client that waits.

A part is one letter, the length in bytes, a colon and the bytes, so that many
travel in one value and the scripts can write them too:

    H  head: JSON {status, headers}     C  bytes for the client
    E  error: JSON {status, code, message}; ends the reply
    D  done; ends the reply             Q  left the waiting line (of a pool: for that member)
    W  the LLM is awake, the wait for a slot begins
    K  of a kept reply: what follows is that entry of it
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Head(msgspec.Struct):
    """Status and headers of an answer, as the backend gave them."""

    status: int
    headers: dict[str, str] = {}


class Failure(msgspec.Struct):
    """Why a request ended without an answer."""

    status: int
    code: str
    message: str


_HEAD = msgspec.json.Decoder(Head)
_FAILURE = msgspec.json.Decoder(Failure)

DONE = b"D0:"


def part(letter: bytes, content: bytes) -> bytes:
    return b"%s%d:%s" % (letter, len(content), content)


def head(status: int, headers: dict[str, str]) -> bytes:
    return part(b"H", msgspec.json.encode(Head(status, headers)))


def failure(status: int, code: str, message: str) -> bytes:
    return part(b"E", msgspec.json.encode(Failure(status, code, message)))


def split(parts: bytes) -> Iterator[tuple[str, bytes]]:
    """The (letter, content) pairs of a value."""
    at = 0
    while at < len(parts):
        colon = parts.index(b":", at)
        end = colon + 1 + int(parts[at + 1 : colon])
        yield chr(parts[at]), parts[colon + 1 : end]
        at = end


def read_head(content: bytes) -> Head:
    return _HEAD.decode(content)


def read_failure(content: bytes) -> Failure:
    return _FAILURE.decode(content)
