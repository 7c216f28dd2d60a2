"""Rows of pools: made, edited, deleted by admins, and read. How a pool chooses is in ``pools.py``."""

from __future__ import annotations

import msgspec

from broker.errors import Conflict
from broker.pool import Pool
from broker.unknown import UnknownPool

from .scripts import Caller, Scripts

_SLICE = 200


class PoolRows:
    def __init__(self, link: Caller, scripts: Scripts, prefix: str, *, accept_ms: int):
        self._link = link
        self._scripts = scripts
        self._accept_ms = accept_ms
        self._names = f"{prefix}pools"

    async def all(self) -> list[Pool]:
        """Every pool, by name."""
        names = sorted(await self._link.call("SMEMBERS", self._names))
        return [pool for start in range(0, len(names), _SLICE) for pool in await self._read(names[start : start + _SLICE])]

    async def pool(self, name: str) -> Pool:
        """Raises UnknownPool."""
        found = await self._read([name.encode()])
        if not found:
            raise _unknown(name)
        return found[0]

    async def create(self, name: str, fields: dict[str, str], *, owner: str) -> Pool:
        """A new pool; ``fields`` as they are stored. Raises Conflict."""
        if await self._scripts.run("pool_create", name, owner, msgspec.json.encode(fields)) != b"ok":
            raise Conflict(f"There is a pool {name!r} already; edit it with PATCH.", param="name")
        return await self.pool(name)

    async def edit(self, name: str, fields: dict[str, str], *, version: int | None) -> Pool:
        """Changes these fields. ``version`` None: whichever it is at. Raises UnknownPool, Conflict."""
        guard = "" if version is None else version
        verdict, *rest = await self._scripts.run("pool_edit", name, guard, msgspec.json.encode(fields), self._accept_ms)
        if verdict == b"unknown":
            raise _unknown(name)
        if verdict == b"version":
            raise Conflict(
                f"{name!r} was edited meanwhile: it is at version {rest[0].decode()}, not {version}; "
                "read it again and edit that.", param="version",
            )
        return await self.pool(name)

    async def delete(self, name: str) -> None:
        """Deletes a pool; whoever waits in its line is refused. Raises UnknownPool."""
        if await self._scripts.run("pool_delete", name) != b"ok":
            raise _unknown(name)

    async def _read(self, names: list[bytes]) -> list[Pool]:
        """Those of the names that there are."""
        rows = await self._scripts.run("pools_read", *names) if names else []
        return [Pool.read({flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}) for flat in rows]


def _unknown(name: str) -> UnknownPool:
    return UnknownPool(f"There is no pool {name!r}; GET /api/v1/pools lists those that there are.")
