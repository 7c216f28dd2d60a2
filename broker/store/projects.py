"""Project rows: read, made, edited, deleted. Each decision is one script; secrets that a project names stay."""

from __future__ import annotations

import uuid

import msgspec

from broker.errors import Conflict, Unprocessable
from broker.library import Project
from broker.unknown import UnknownProject

from .library import Library, refuse
from .scripts import Scripts


class Projects:
    def __init__(self, library: Library, scripts: Scripts):
        self._library = library
        self._scripts = scripts

    async def all(self) -> list[Project]:
        """Every project, by name."""
        return await self._library.all("project", Project)

    async def project(self, key: str) -> Project:
        """The project of that id, else of that name. Raises UnknownProject."""
        row = await self._library.one("project", Project, key)
        if row is None:
            raise UnknownProject(f"There is no project {key!r}; GET /api/v1/projects lists those that there are.")
        return row

    async def create(self, name: str, fields: dict[str, str], *, owner: str) -> Project:
        """A new project; ``fields`` as they are stored. Raises Conflict, Unprocessable (a secret)."""
        verdict, *rest = await self._scripts.run(
            "project_create", name, str(uuid.uuid4()), owner, msgspec.json.encode(fields)
        )
        if verdict == b"taken":
            raise Conflict(f"There is a project {name!r} already; edit it with PATCH.", param="name")
        _refuse_secret(verdict, rest)
        return await self.project(name)

    async def edit(self, project: Project, fields: dict[str, str], *, version: int | None, owner: str | None) -> Project:
        """Changes these fields of a row that was read. ``version`` None: whichever it is at; ``owner`` None: an admin's
        call. Raises UnknownProject, Conflict, Unprocessable (a secret)."""
        verdict, *rest = await self._scripts.run(
            "project_edit", project.name, project.id, owner or "", "" if version is None else version,
            msgspec.json.encode(fields),
        )
        refuse(verdict, rest, f"project {project.name!r}", version, UnknownProject)
        _refuse_secret(verdict, rest)
        return await self.project(project.id)

    async def delete(self, project: Project, *, owner: str | None) -> None:
        """Deletes a row that was read, and its prompts. ``owner`` None: an admin's call. Raises UnknownProject."""
        verdict, *rest = await self._scripts.run("project_delete", project.name, project.id, owner or "")
        refuse(verdict, rest, f"project {project.name!r}", None, UnknownProject)


def _refuse_secret(verdict: bytes, rest: list[bytes]) -> None:
    if verdict == b"no_secret":
        name = rest[0].decode()
        raise Unprocessable(f"There is no secret {name!r}; make it first: PUT /api/v1/secrets/{name}.", param="mcpServers")
