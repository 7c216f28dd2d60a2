"""What a backend process was asked, as it tells itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from tests.support.processes import Process


async def seen(backend: Process) -> list[dict]:
    """Every request: path, headers, body, aborted, finished."""
    url = backend.url.removesuffix("/v1") + "/seen"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return (await answer.json())["seen"]


async def times_seen(backend: Process, marker: str) -> int:
    """How many requests had those words in them."""
    return sum(marker in one["body"] for one in await seen(backend))


async def until_seen(backend: Process, holds: Callable[[dict], object], limit_s: float, count: int = 1) -> None:
    """Waits until that many requests are as ``holds`` says."""
    async with asyncio.timeout(limit_s):
        while sum(bool(holds(one)) for one in await seen(backend)) < count:
            await asyncio.sleep(0.02)


async def release(backend: Process) -> None:
    """Lets all answers go on that it holds back."""
    async with aiohttp.ClientSession() as http:
        await http.post(backend.url.removesuffix("/v1") + "/release")
