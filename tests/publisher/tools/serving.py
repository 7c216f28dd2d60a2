"""A publisher's tool server for a test, with the real program behind it, and what is asked of it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from publisher.config.values import ToolServer as Told
from publisher.tools.tool_server import ToolServer
from tests.publisher.config.shown import ROOT

LIST = {"method": "tools/list"}


def program(folder: Path, **more: object) -> Told:
    """The tool server ``files``: ``tests.support.mcp_stdio``, which notes in that folder what it does."""
    given = {"env": {"PYTHONPATH": str(ROOT)}, "timeout_s": 20.0, **more}
    return Told("files", command=sys.executable, args=("-m", "tests.support.mcp_stdio", str(folder)), **given)


def call(tool: str, **arguments: object) -> dict:
    return {"method": "tools/call", "params": {"name": tool, "arguments": arguments}}


async def ask(server: ToolServer, request: dict) -> dict:
    return json.loads(await server.answer(json.dumps(request).encode()))


async def said(server: ToolServer, tool: str, **arguments: object) -> str:
    """The text of a tool's answer."""
    result = await ask(server, call(tool, **arguments))
    return "".join(block["text"] for block in result["content"])


def notes(folder: Path, file: str) -> list[str]:
    return (folder / file).read_text().splitlines() if (folder / file).exists() else []


def lives(pid: int | str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    except OSError:
        os.kill(int(pid), 0)
        return True
    return stat.rpartition(")")[2].split()[0] != "Z"


@contextlib.asynccontextmanager
async def serving(told: Told, start_s: float = 20.0) -> AsyncIterator[ToolServer]:
    server = ToolServer(told, start_s)
    try:
        yield server
    finally:
        await server.stop()
