"""Rows: reading LLMs and agents as they are now; making and editing public LLMs, deleting any. Agents: ``agents.py``,
tool servers, which are rows beside the LLMs: ``tool_servers.py``.

Rows are written by scripts only (these, registration, heartbeats, sweeps). Every read
goes through ``rows_read.lua``, so that nobody sees a stale row as active.
"""

from __future__ import annotations

import uuid

import msgspec

from broker.errors import Conflict, Unprocessable
from broker.model import LLM
from broker.unknown import UnknownLLM
from broker.wire import TOOLS

from .scripts import Caller, Scripts

_SLICE = 200
_AWAKE = ("active", "hibernating", "inactive")


class Rows:
    def __init__(self, link: Caller, scripts: Scripts, prefix: str, *, stale_ms: int, expire_ms: int):
        self._link = link
        self._scripts = scripts
        self._prefix = prefix
        self._ages = (stale_ms, expire_ms)

    async def llms(self) -> list[LLM]:
        """Every LLM that is there, by name."""
        return [LLM.read(row) for row in await self.all("llm") if not row["name"].startswith(TOOLS)]

    async def llm(self, key: str) -> LLM:
        """The LLM of that id, else of that name: no name can hide another row's id. Raises UnknownLLM."""
        row = await self.one("llm", key)
        if row is None or row["name"].startswith(TOOLS):
            raise UnknownLLM(f"There is no LLM {key!r}; GET /v1/models lists those that there are.")
        return LLM.read(row)

    async def llm_asked_for(self, model: str) -> LLM:
        """The LLM that a client means by ``model``: an id, a name, else an alias. Raises UnknownLLM."""
        try:
            return await self.llm(model)
        except UnknownLLM:
            llm = await self.behind_alias(model)
            if llm is None:
                raise
            return llm

    async def behind_alias(self, alias: str) -> LLM | None:
        """Of the LLMs with that alias the one that is most awake; among equals the first by name."""
        return await self._behind("alias", alias)

    async def behind_model(self, model: str) -> LLM | None:
        """The same of the LLMs with that model."""
        return await self._behind("model-llms", model)

    async def only_one(self, word: str) -> str:
        """The name of the one LLM that has that alias, or, where no alias and no pool has that name, that model; '' for
        none and for several."""
        for family in ("alias", "pool", "model-llms"):
            key = f"{self._prefix}{family}:{word}"
            if family == "pool":
                if await self._link.call("EXISTS", key):
                    return ""
            elif names := await self._link.call("SMEMBERS", key):
                return next(iter(names)).decode() if len(names) == 1 else ""
        return ""

    async def _behind(self, family: str, word: str) -> LLM | None:
        names = sorted(await self._link.call("SMEMBERS", f"{self._prefix}{family}:{word}"))
        rows = [LLM.read(row) for row in await self.read("llm", names)]
        return min(rows, key=lambda llm: (_AWAKE.index(llm.status), not llm.channel), default=None)

    async def llms_named(self, names: list[str]) -> list[LLM]:
        return [LLM.read(row) for row in await self.read("llm", [name.encode() for name in names])]

    async def create_llm(self, name: str, fields: dict[str, str], *, owner: str) -> LLM:
        """A new public LLM; ``fields`` as they are stored. Raises Conflict, Unprocessable (its secret)."""
        verdict, *rest = await self._scripts.run(
            "llm_create", name, str(uuid.uuid4()), owner, msgspec.json.encode(fields), *self._ages
        )
        if verdict == b"public":
            raise Conflict(f"There is a public LLM {name!r} already; edit it with PATCH.", param="name")
        if verdict == b"virtual":
            raise Conflict(
                f"{name!r} is the name of a virtual LLM, which a publisher holds ({rest[0].decode()}); "
                "choose another, or delete that one first.", param="name",
            )
        self._refuse_missing(verdict, rest)
        return await self.llm(name)

    async def edit_llm(self, key: str, fields: dict[str, str], *, version: int | None) -> LLM:
        """Changes these fields of a public LLM. ``version`` None: whichever it is at. Raises UnknownLLM,
        Conflict, Unprocessable (its secret)."""
        llm = await self.llm(key)
        guard = "" if version is None else version
        verdict, *rest = await self._scripts.run(
            "llm_edit", llm.name, llm.id, guard, msgspec.json.encode(fields), *self._ages
        )
        if verdict == b"unknown":
            raise UnknownLLM(f"There is no LLM {key!r}; GET /v1/models lists those that there are.")
        if verdict == b"virtual":
            raise Conflict(f"{llm.name!r} is a virtual LLM: its publisher owns it; edit the publisher's config file.")
        if verdict == b"version":
            raise Conflict(
                f"{llm.name!r} was edited meanwhile: it is at version {rest[0].decode()}, not {version}; "
                "read it again and edit that.", param="version",
            )
        self._refuse_missing(verdict, rest)
        return await self.llm(llm.id)

    async def delete_llm(self, key: str, *, owner: str | None) -> None:
        """Deletes an LLM row. ``owner`` None: an admin's call. Raises UnknownLLM, Conflict."""
        llm = await self.llm(key)
        verdict, *pinned = await self._scripts.run("llm_delete", llm.name, owner or "", *self._ages)
        if verdict == b"unknown":
            raise UnknownLLM(f"There is no LLM {key!r} of yours.")
        if verdict == b"pinned":
            agents = ", ".join(sorted(name.decode() for name in pinned))
            raise Conflict(f"Agents are pinned to {llm.name!r}: {agents}. Delete them, or pin them to another LLM.")

    @staticmethod
    def _refuse_missing(verdict: bytes, rest: list[bytes]) -> None:
        if verdict == b"no_secret":
            name = rest[0].decode()
            raise Unprocessable(f"There is no secret {name!r}; make it first: PUT /api/v1/secrets/{name}.", param="apiKeyRef")

    async def all(self, family: str) -> list[dict[str, str]]:
        """Every row of a family (llm | agent) as it is stored, by name."""
        return await self.read(family, sorted(await self._link.call("SMEMBERS", f"{self._prefix}{family}s")))

    async def one(self, family: str, key: str) -> dict[str, str] | None:
        """The row of that id, else of that name."""
        name = await self._link.call("HGET", f"{self._prefix}{family}-ids", key)
        rows = await self.read(family, [name]) if name else []
        if not rows:
            rows = await self.read(family, [key.encode()])
        return rows[0] if rows else None

    async def read(self, family: str, names: list[bytes]) -> list[dict[str, str]]:
        """Those of the names that there are."""
        rows = []
        for start in range(0, len(names), _SLICE):
            for flat in await self._scripts.run("rows_read", family, *self._ages, *names[start : start + _SLICE]):
                texts = [item.decode() for item in flat]
                rows.append(dict(zip(texts[::2], texts[1::2], strict=True)))
        return rows
