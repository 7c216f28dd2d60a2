"""Prompt rows: read, made, edited, deleted. Each decision is one script.

Names are unique among the prompts of one project, of one agent, and of none; ids name the rows.
"""

from __future__ import annotations

import uuid

import msgspec

from broker.errors import Conflict, Unprocessable
from broker.library import Prompt
from broker.unknown import UnknownAgent, UnknownProject, UnknownPrompt

from .library import Library, refuse
from .scripts import Scripts

#: Prompts of one project or agent: a project's go before every conversation.
MOST = 64


class Prompts:
    def __init__(self, library: Library, scripts: Scripts, *, stale_ms: int, expire_ms: int):
        self._library = library
        self._scripts = scripts
        self._ages = (stale_ms, expire_ms)

    async def all(self) -> list[Prompt]:
        """Every prompt, by name."""
        return _by_name(await self._library.all("prompt", Prompt))

    async def within(self, scope: str, of: str) -> list[Prompt]:
        """The prompts of that project or agent (its id or name), or the ``global`` ones (of ''), by name."""
        return _by_name(await self._library.read("prompt", Prompt, await self._library.prompt_ids(scope, of)))

    async def prompt(self, key: str) -> Prompt:
        """The prompt of that id. Raises UnknownPrompt."""
        row = await self._library.one("prompt", Prompt, key)
        if row is None:
            raise UnknownPrompt(f"There is no prompt with the id {key!r}; GET /api/v1/prompts lists those that there are.")
        return row

    async def create(self, name: str, content: str, *, scope: str, of: str, owner: str, whose: str | None) -> Prompt:
        """A new prompt; ``of``: the id or name of its project or agent, '' for none. ``whose``: must own that; None: an
        admin's call. Raises UnknownProject, UnknownAgent, Conflict, Unprocessable (too many)."""
        prompt = str(uuid.uuid4())
        verdict, *_ = await self._scripts.run(
            "prompt_create", prompt, owner, name, content, scope, of, whose or "", MOST, *self._ages
        )
        if verdict == b"no_project":
            raise UnknownProject(f"There is no project {of!r} of yours.", param="project")
        if verdict == b"no_agent":
            raise UnknownAgent(f"There is no agent {of!r} of yours.", param="agent")
        if verdict == b"full":
            raise Unprocessable(f"The {scope} {of!r} has {MOST} prompts already; more are not possible.", param=scope)
        _refuse_name(verdict, name)
        return await self.prompt(prompt)

    async def edit(self, prompt: Prompt, fields: dict[str, str], *, version: int | None, owner: str | None) -> Prompt:
        """Changes these fields of a row that was read. ``version`` None: whichever it is at; ``owner`` None: an admin's
        call. Raises UnknownPrompt, Conflict."""
        verdict, *rest = await self._scripts.run(
            "prompt_edit", prompt.id, owner or "", "" if version is None else version, msgspec.json.encode(fields)
        )
        refuse(verdict, rest, f"prompt {prompt.name!r}", version, UnknownPrompt)
        _refuse_name(verdict, fields.get("name", prompt.name))
        return await self.prompt(prompt.id)

    async def delete(self, prompt: Prompt, *, owner: str | None) -> None:
        """Deletes a row that was read. ``owner`` None: an admin's call. Raises UnknownPrompt."""
        verdict, *rest = await self._scripts.run("prompt_delete", prompt.id, owner or "")
        refuse(verdict, rest, f"prompt {prompt.name!r}", None, UnknownPrompt)


def _by_name(prompts: list[Prompt]) -> list[Prompt]:
    return sorted(prompts, key=lambda prompt: (prompt.name, prompt.id))


def _refuse_name(verdict: bytes, name: str) -> None:
    if verdict == b"taken":
        raise Conflict(f"There is a prompt {name!r} already in the same place; edit it with PATCH.", param="name")
