"""Ports of this machine: one that is free, and whether anybody listens on one. Nothing is sent."""

from __future__ import annotations

import asyncio
import socket


def free_port(wish: int = 0) -> int:
    """The wished port if nobody has it, else any that is free."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", wish))
        except OSError:
            return free_port()
        return sock.getsockname()[1]


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
