"""``/api/v1/projects``: made, edited and deleted by their owner or an admin; their tools are set by an admin only.

What a tool server's entry may be is in ``mcp_servers.py``.
"""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from broker.errors import Forbidden, Unprocessable
from broker.library import McpServer, Project

from .bodies import reply
from .context import PRINCIPAL, STORE, UPSTREAMS
from .edits import check_description, owner_of, read_edit, shown, stored, version_of
from .mcp_servers import check_addresses, read_servers
from .names import check_name


class ProjectEdit(msgspec.Struct, rename="camel"):
    """A project as its owner writes it: all that ``POST`` needs, what changes in ``PATCH``."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    mcp_servers: list[dict] | UnsetType = UNSET
    # Of the row that was read before the edit: at another the edit is refused.
    version: int | UnsetType = UNSET


async def list_projects(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].projects.all())


async def get_project(request: web.Request) -> web.Response:
    return shown(await request.app[STORE].projects.project(request.match_info["project"]), 200)


async def create_project(request: web.Request) -> web.Response:
    asked = await read_edit(request, ProjectEdit, Project)
    if not asked.name:
        raise Unprocessable("`name` is missing.", param="name")
    check_name("name", asked.name)
    made = {"description": "", "servers": "[]", **await _fields(request, asked, [])}
    return shown(await request.app[STORE].projects.create(asked.name, made, owner=request[PRINCIPAL].owner), 201)


async def edit_project(request: web.Request) -> web.Response:
    asked = await read_edit(request, ProjectEdit, Project)
    projects = request.app[STORE].projects
    project = await projects.project(request.match_info["project"])
    if asked.name not in (UNSET, project.name):
        raise Unprocessable("A name cannot be changed; make another project.", param="name")
    fields = await _fields(request, asked, project.mcp_servers)
    version = version_of(request, asked.version)
    return shown(await projects.edit(project, fields, version=version, owner=owner_of(request)), 200)


async def delete_project(request: web.Request) -> web.Response:
    projects = request.app[STORE].projects
    await projects.delete(await projects.project(request.match_info["project"]), owner=owner_of(request))
    return web.Response(status=204)


async def _fields(request: web.Request, asked: ProjectEdit, before: list[McpServer]) -> dict[str, str]:
    """The fields that change, checked, as they are stored."""
    check_description(asked.description)
    fields = {} if asked.description is UNSET else {"description": asked.description}
    if asked.mcp_servers is UNSET:
        return fields
    servers = read_servers(asked.mcp_servers)
    # A row that was read is sent back with its servers: no change, so anybody's who may edit it.
    if servers == before:
        return fields
    if not request[PRINCIPAL].may("admin"):
        raise Forbidden("`mcpServers` is set by an admin: that needs a token with the role 'admin'. Leave it out.", param="mcpServers")
    await check_addresses(servers, request.app[UPSTREAMS].guard)
    return {**fields, "servers": stored(servers)}
