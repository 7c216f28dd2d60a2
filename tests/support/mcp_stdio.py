"""A real MCP server by stdio, made with the SDK: ``python -m tests.support.mcp_stdio <folder>``.

Into the folder it writes what a test wants to see: a line with its process id at each start, the calls that began
(``began``) and those that ran to their end (``done``).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else None


def note(file: str, line: object) -> None:
    with open(FOLDER / file, "a") as notes:
        notes.write(f"{line}\n")


def serve() -> None:
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("stdio", log_level="CRITICAL")

    @server.tool(structured_output=False)
    def add(a: int, b: int) -> str:
        """The sum of two numbers."""
        return str(a + b)

    @server.tool(structured_output=False)
    async def wait(seconds: float) -> str:
        """Waits."""
        note("began", seconds)
        await asyncio.sleep(seconds)
        note("done", seconds)
        return "waited"

    @server.tool(structured_output=False)
    def letters(count: int) -> str:
        """So many letters."""
        return "x" * count

    @server.tool(structured_output=False)
    def variable(name: str) -> str:
        """One of its own variables."""
        return os.environ.get(name, "(not set)")

    @server.tool(structured_output=False)
    def fail() -> str:
        """Fails."""
        raise ValueError("it is broken")

    @server.tool(structured_output=False)
    def die(word: str = "", with_signal: bool = False) -> str:
        """Ends the server in the middle of a call."""
        print(word, file=sys.stderr, flush=True)
        if with_signal:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(3)

    @server.tool(structured_output=False)
    async def hang() -> str:
        """Lets the whole server hang."""
        note("began", "hang")
        signal.pause()
        return ""

    @server.tool(structured_output=False)
    def child() -> str:
        """Starts a program that would outlive the server; its process id."""
        started = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return str(started.pid)

    @server.tool(structured_output=False)
    def chatter() -> str:
        """Prints what is no message, where messages belong."""
        os.write(1, b"hello, this is no JSON\n[1]\n")
        return "said"

    server.run()


if __name__ == "__main__":
    note("starts", os.getpid())
    serve()
