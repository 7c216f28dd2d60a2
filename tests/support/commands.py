"""The ``broker`` command as a process of its own, its settings by environment."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

from tests.support.places import Place


@dataclass
class Ended:
    code: int
    out: str
    err: str


def environment(place: Place, **settings: object) -> dict[str, str]:
    """What a process needs to work at that place; ``stale_seconds=1`` is ``BROKER_STALE_SECONDS=1``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BROKER_") and key not in ("HOST", "PORT")}
    given = {f"BROKER_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, "REDIS_URL": place.url, "BROKER_NAMESPACE": place.namespace, **given}


async def broker(place: Place, *words: str, limit_s: float = 20.0, **settings: object) -> Ended:
    """Runs ``broker <words>`` to its end. One that does not end is killed, and that is an error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "broker", *words, env=environment(place, **settings),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode, out.decode(), err.decode())
