"""Secrets as they are kept: sealed values by name. What opens them is not known here.

A secret that an LLM row or a project names cannot be deleted; scripts see to both sides of that.
"""

from __future__ import annotations

from broker.errors import Conflict
from broker.model import Secret, iso
from broker.unknown import UnknownSecret

from .scripts import Scripts


class Secrets:
    def __init__(self, scripts: Scripts):
        self._scripts = scripts

    async def put(self, name: str, sealed: str, key: str) -> tuple[bool, Secret]:
        """Keeps a value that ``key`` sealed. Answers whether the secret is new, and how it is listed."""
        verdict, created, updated = await self._scripts.run("secret_put", name, sealed, key)
        return verdict == b"created", Secret(name, True, _time(created), _time(updated))

    async def read(self, name: str) -> tuple[str, str] | None:
        """(sealed value, id of the key that sealed it); None: there is no such secret."""
        found = await self._scripts.run("secret_read", name)
        return (found[0].decode(), found[1].decode()) if found else None

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
            llms, *names = int(rest[0]), *(one.decode() for one in rest[1:])
            users = [f"{kind} ({', '.join(sorted(of))})" for kind, of in (("LLMs", names[:llms]), ("projects", names[llms:])) if of]
            raise Conflict(f"The secret {name!r} is used by {' and '.join(users)}. Give them another, or delete them.")


def _time(ms: bytes) -> str:
    return iso(ms.decode()) or ""
