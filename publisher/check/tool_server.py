"""Checks what a tool server needs to be there: the MCP SDK, its program, its folder. It starts none.

Whether it speaks MCP, only a call can tell.
"""

from __future__ import annotations

from msgspec import structs
from yarl import URL

from publisher.check.finding import About, Finding
from publisher.check.recipe import check_program, check_resolves
from publisher.config.values import ToolServer
from publisher.tools.installed import sdk_is_here


async def check_tool_server(tool: ToolServer, offline: bool) -> list[Finding]:
    about = About(f'tool server "{tool.name}"')
    if not sdk_is_here():
        return [about.error("tools need the MCP SDK, which is not here: it would not be published",
                            "pip install 'reveille[agents]'")]
    found: list[Finding] = []
    if tool.command:
        found = check_program(tool, about)
    elif not offline:
        found = [structs.replace(one, remedy="correct its url") for one in await check_resolves(URL(tool.url).host, about)]
    return found or [about.ok("what it needs is there")]
