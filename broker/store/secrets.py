"""Secrets as they are kept: sealed values by name. What opens them is not known here.

A secret that an LLM row names cannot be deleted; scripts see to both sides of that.
"""

from __future__ import annotations

from broker.errors import Conflict, UnknownSecret
from broker.model import Secret, iso

from .scripts import Scripts


class Secrets:
    def __init__(self, scripts: Scripts):
        self._scripts = scripts

    async def put(self, name: str, sealed: str, key: str) -> tuple[bool, Secret]:
        """Keeps a value that ``key`` sealed. Answers whether the secret is new, and how it is listed."""
        verdict, created, updated = await self._scripts.run("secret_put", name, sealed, key)
        return verdict == b"created", Secret(name, True, _time(created), _time(updated))

    async def list(self, current_key: str) -> list[Secret]:
        """By name, without values."""
        rows = await self._scripts.run("secrets_read")
        found = [Secret(name.decode(), key.decode() == current_key, _time(made), _time(put)) for name, key, made, put in rows]
        return sorted(found, key=lambda secret: secret.name)

    async def delete(self, name: str) -> None:
        """Raises UnknownSecret, Conflict (naming the rows that use it)."""
        verdict, *rest = await self._scripts.run("secret_delete", name)
        if verdict == b"unknown":
            raise UnknownSecret(f"There is no secret {name!r}.")
        if verdict == b"used":
            llms = ", ".join(sorted(llm.decode() for llm in rest))
            raise Conflict(f"LLMs use the secret {name!r}: {llms}. Give them another, or delete them.")


def _time(ms: bytes) -> str:
    return iso(ms.decode()) or ""
