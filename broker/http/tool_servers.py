"""``/api/v1/tool-servers``: the MCP servers that publishers hold, to be read and deleted.

They are made by their publishers' registration (``provider.py``), and called for a chat's tools
(``broker/tools/``): no path here, nor any other, asks one directly.
"""

from __future__ import annotations

from aiohttp import web

from broker.errors import Forbidden

from .bodies import reply
from .context import PRINCIPAL, STORE


async def list_tool_servers(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].tool_servers.all())


async def get_tool_server(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].tool_servers.tool_server(request.match_info["server"]))


async def delete_tool_server(request: web.Request) -> web.Response:
    principal = request[PRINCIPAL]
    if not principal.may("publisher"):
        raise Forbidden("Deleting a tool server needs a token with the role 'publisher' (its owner's) or 'admin'.")
    owner = None if principal.may("admin") else principal.owner
    await request.app[STORE].tool_servers.delete(request.match_info["server"], owner=owner)
    return web.Response(status=204)
