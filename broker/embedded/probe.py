"""Two questions to a server on a unix socket, without a client library.

Loading redis-py costs more time than the server's whole start, and a server
that is starting needs no more than this.
"""

from __future__ import annotations

import asyncio
import enum
import re
from pathlib import Path


class Answer(enum.Enum):
    PONG = enum.auto()
    LOADING = enum.auto()  # it reads its data, and refuses everything else
    NOTHING = enum.auto()


async def ping(socket: Path, *, timeout_s: float = 1.0) -> Answer:
    said = await _ask(socket, b"PING\r\n", timeout_s)
    if said.startswith(b"+PONG"):
        return Answer.PONG
    return Answer.LOADING if said.startswith(b"-LOADING") else Answer.NOTHING


async def ask_identity(socket: Path, *, timeout_s: float = 5.0) -> tuple[str, int]:
    """The version (``Valkey 9.1.2``; Valkey also claims a Redis version) and the
    process id, 0 when it does not say."""
    said = (await _ask(socket, b"INFO server\r\n", timeout_s)).decode()
    fields = dict(re.findall(r"^(\w+):(\S+)", said, re.MULTILINE))
    pid = int(fields.get("process_id", 0))
    for name in ("valkey", "redis"):
        if version := fields.get(f"{name}_version"):
            return f"{name.capitalize()} {version}", pid
    return "Redis of unknown version", pid


async def _ask(socket: Path, question: bytes, timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                # QUIT has the server close, so that the end of the stream is the
                # end of the answer.
                writer.write(question + b"QUIT\r\n")
                return await reader.read(-1)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
