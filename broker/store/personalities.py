"""Personality rows: read, made, edited, deleted. Each decision is one script; prompts outlive their personalities."""

from __future__ import annotations

import uuid

import msgspec

from broker.errors import Conflict
from broker.library import Personality, PromptRef
from broker.unknown import UnknownPersonality, UnknownPrompt

from .library import Library, refuse
from .scripts import Scripts


class Personalities:
    def __init__(self, library: Library, scripts: Scripts):
        self._library = library
        self._scripts = scripts

    async def all(self) -> list[Personality]:
        """Every personality, by name."""
        return await self._library.all("personality", Personality)

    async def personality(self, key: str) -> Personality:
        """The personality of that id, else of that name. Raises UnknownPersonality."""
        row = await self._library.one("personality", Personality, key)
        if row is None:
            raise UnknownPersonality(f"There is no personality {key!r}; GET /api/v1/personalities lists those that there are.")
        return row

    async def create(self, name: str, fields: dict[str, str], prompts: list[PromptRef], *, owner: str) -> Personality:
        """A new personality; ``fields`` as they are stored, each prompt by its id, else by its name where it is.
        Raises Conflict, UnknownPrompt."""
        verdict, *rest = await self._scripts.run(
            "personality_create", name, str(uuid.uuid4()), owner, msgspec.json.encode(fields), _asked(prompts)
        )
        if verdict == b"taken":
            raise Conflict(f"There is a personality {name!r} already; edit it with PATCH.", param="name")
        _refuse_prompt(verdict, rest)
        return await self.personality(name)

    async def edit(
        self, personality: Personality, fields: dict[str, str], prompts: list[PromptRef] | None, *,
        version: int | None, owner: str | None,
    ) -> Personality:
        """Changes these fields of a row that was read, and its prompts unless None. ``version`` None: whichever it is
        at; ``owner`` None: an admin's call. Raises UnknownPersonality, Conflict, UnknownPrompt."""
        verdict, *rest = await self._scripts.run(
            "personality_edit", personality.name, personality.id, owner or "", "" if version is None else version,
            msgspec.json.encode(fields), "" if prompts is None else _asked(prompts),
        )
        refuse(verdict, rest, f"personality {personality.name!r}", version, UnknownPersonality)
        _refuse_prompt(verdict, rest)
        return await self.personality(personality.id)

    async def delete(self, personality: Personality, *, owner: str | None) -> None:
        """Deletes a row that was read. ``owner`` None: an admin's call. Raises UnknownPersonality."""
        verdict, *rest = await self._scripts.run("personality_delete", personality.name, personality.id, owner or "")
        refuse(verdict, rest, f"personality {personality.name!r}", None, UnknownPersonality)


def _asked(prompts: list[PromptRef]) -> bytes:
    """The prompts as the scripts look for them."""
    return msgspec.json.encode([
        {
            "id": ref.id or "", "name": ref.name, "of": ref.project or ref.agent or "",
            "scope": "project" if ref.project else "agent" if ref.agent else "global",
        }
        for ref in prompts
    ])


def _refuse_prompt(verdict: bytes, rest: list[bytes]) -> None:
    if verdict == b"no_prompt":
        raise UnknownPrompt(f"There is no prompt {rest[0].decode()!r}; GET /api/v1/prompts lists those that there are.", param="prompts")
