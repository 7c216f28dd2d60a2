"""Makes a tool server out of what the file says, and refuses what cannot be one."""

from __future__ import annotations

from publisher.config.address import check_address
from publisher.config.mistake import Mistake, Place
from publisher.config.recipe import program
from publisher.config.schema import ToolEntry
from publisher.config.secrets import Folder
from publisher.config.values import ToolServer


def tool_server_of(entry: ToolEntry, at: Place, folder: Folder) -> ToolServer:
    if entry.command is None and entry.url is None:
        raise Mistake((*at, "command"), "is missing: a tool server needs a program, or a url")
    if entry.url is not None:
        check_address(entry.url, (*at, "url"))
        for field in ("command", "args", "env", "cwd"):
            if getattr(entry, field):
                raise Mistake((*at, field), "stands beside url: it belongs to a program that the publisher starts")
    return ToolServer(
        name=entry.name,
        command=program(entry.command, entry.cwd, folder) if entry.command else "",
        args=tuple(entry.args),
        env=entry.env,
        directory=folder.place(entry.cwd),
        url=entry.url or "",
        description=entry.description,
        slots=entry.slots,
        idle_s=entry.idleSeconds,
        timeout_s=entry.timeoutSeconds,
    )
