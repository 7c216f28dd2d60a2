"""Stored responses of OpenAI's Responses API: what was asked, how it was answered, and which response came before.

Items and answers are JSON that this room never reads. Each decision is one script.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple

from broker.errors import NotFound

from .scripts import Caller, Scripts

_ROWS, _BYTES = 50, 8 << 20


class UnknownResponse(NotFound):
    """There is no such response; it was deleted, not stored, or its time is over."""

    code = "unknown_response"


class Stored(NamedTuple):
    """A response: its input (a JSON array), its answer (JSON; as it began, until it ``ended``), the job that makes it."""

    id: str
    input: bytes
    answer: bytes
    ended: bool
    job: str = ""


class Responses:
    def __init__(self, link: Caller, scripts: Scripts, prefix: str):
        self._link = link
        self._scripts = scripts
        self._prefix = f"{prefix}response:"

    async def put(
        self, response: str, owner: str, *, ttl_ms: int, created_s: int, previous: str, items: bytes, answer: bytes, job: str = ""
    ) -> None:
        """Keeps a response that has ended, or that a job is to answer."""
        await self._scripts.run("response_put", response, owner, ttl_ms, created_s, previous, job, items, answer)

    async def end(self, response: str, answer: bytes) -> bytes:
        """Keeps how one ended. Returns how it did: somebody may have been first. Raises UnknownResponse."""
        counts = await self._scripts.run("response_end", response, answer)
        if not counts:
            raise _unknown(response)
        return counts

    async def get(self, response: str, owner: str) -> Stored:
        """Raises UnknownResponse, also for another owner's."""
        row = await self._link.call("HMGET", self._prefix + response, "owner", "input", "answer", "ended", "job")
        if row[0] != owner.encode():
            raise _unknown(response)
        return Stored(response, row[1], row[2], row[3] == b"1", row[4].decode())

    async def chain(self, response: str, owner: str, *, ttl_ms: int) -> AsyncGenerator[Stored]:
        """A response and all before it, the newest first; they are kept for so long again. Raises UnknownResponse, naming
        the one that is not there."""
        at = response
        while at:
            before, *rows = await self._scripts.run("response_chain", at, owner, ttl_ms, _ROWS, _BYTES)
            for start in range(0, len(rows), 4):
                name, items, answer, ended = rows[start : start + 4]
                yield Stored(name.decode(), items, answer, ended == b"1")
            if not rows:
                raise _unknown(before.decode())
            at = before.decode()

    async def delete(self, response: str, owner: str) -> str:
        """Forgets one. Returns the job that is still to be cancelled, or ''. Raises UnknownResponse."""
        found = await self._scripts.run("response_delete", response, owner)
        if not found:
            raise _unknown(response)
        return found[0].decode()


def _unknown(response: str) -> UnknownResponse:
    return UnknownResponse(f"There is no response {response!r}; it was deleted, not stored, or its time is over.")
