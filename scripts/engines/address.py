"""Whether anybody listens on a port of this machine. Nothing is sent."""

from __future__ import annotations

import asyncio


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
