"""Reading projects, personalities and prompts, and what their edits are refused for alike.

Each kind is made, edited and deleted in its own file (``projects.py``, ``personalities.py``, ``prompts.py``).
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from broker.errors import Conflict, NotFound

from .scripts import Caller, Scripts

_INDEXES = {"project": "projects", "personality": "personalities", "prompt": "prompts"}
#: Prompts may be large, and an answer holds that many of them.
_SLICE = 50


class Row(Protocol):
    @classmethod
    def read(cls, row: dict[str, str], named: list[str]) -> Row: ...


R = TypeVar("R", bound=Row)


class Library:
    """``family`` is project, personality or prompt; ``kind`` is what its rows are read as."""

    def __init__(self, link: Caller, scripts: Scripts, prefix: str, *, stale_ms: int, expire_ms: int):
        self._link = link
        self._scripts = scripts
        self._prefix = prefix
        self._ages = (stale_ms, expire_ms)

    async def all(self, family: str, kind: type[R]) -> list[R]:
        """Every row, by name, or by id where ids are the keys."""
        return await self.read(family, kind, sorted(await self._link.call("SMEMBERS", f"{self._prefix}{_INDEXES[family]}")))

    async def one(self, family: str, kind: type[R], key: str) -> R | None:
        """The row of that id, else of that name; a prompt by its id only."""
        name = None if family == "prompt" else await self._name(family, key)
        rows = await self.read(family, kind, [name]) if name else []
        rows = rows or await self.read(family, kind, [key.encode()])
        return rows[0] if rows else None

    async def read(self, family: str, kind: type[R], keys: list[bytes]) -> list[R]:
        """Those of the keys (names, or ids of prompts) that there are."""
        rows = []
        for start in range(0, len(keys), _SLICE):
            for flat, named in await self._scripts.run("library_read", family, *self._ages, *keys[start : start + _SLICE]):
                texts = [item.decode() for item in flat]
                rows.append(kind.read(dict(zip(texts[::2], texts[1::2], strict=True)), [item.decode() for item in named]))
        return rows

    async def prompt_ids(self, scope: str, of: str) -> list[bytes]:
        """The ids of the prompts of one project or agent, named by its id or name; of none: ``global`` and ''."""
        name = await self._name(scope, of) if of else b""
        of = of if name is None else name.decode()
        return await self._link.call("HVALS", f"{self._prefix}prompt-names:{scope}:{of}")

    async def _name(self, family: str, key: str) -> bytes | None:
        return await self._link.call("HGET", f"{self._prefix}{family}-ids", key)


def refuse(verdict: bytes, rest: list[bytes], label: str, version: int | None, unknown: type[NotFound]) -> None:
    """Raises ``unknown`` or Conflict if the script refused for the row's sake. ``label``: as "project 'x'"."""
    if verdict == b"unknown":
        raise unknown(f"There is no {label} of yours.")
    if verdict == b"version":
        raise Conflict(
            f"The {label} was edited meanwhile: it is at version {rest[0].decode()}, not {version}; "
            "read it again and edit that.", param="version",
        )
