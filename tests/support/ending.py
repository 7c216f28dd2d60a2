"""The end of a test's own HTTP server, together with what it accepted in its last moment.

Who connects while it stops is accepted by the loop and known to nobody: left so, it would be an unclosed socket in
whichever test runs when it is collected.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

_TURNS = 5  # of the loop, until a connection that was accepted is made


async def end(runner: web.AppRunner) -> None:
    server = runner.server
    await runner.cleanup()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if server is not None:
        await server.shutdown(0)
        await asyncio.sleep(0)
