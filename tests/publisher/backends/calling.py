"""A backend of the publisher before a server of the test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp

from publisher.backends.seam import Backend
from publisher.backends.types import backend_of


@contextlib.asynccontextmanager
async def calling(
    type_: str, url: str, api_key: str | None = None, check_timeout_s: float = 5.0
) -> AsyncIterator[Backend]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        yield backend_of(type_, http, url, api_key, check_timeout_s)


async def chat(backend: Backend, model: str = "m") -> int:
    """One short request, its answer read to the end and closed; its status."""
    answer = await backend.infer("chat", b'{"model": "%s", "messages": []}' % model.encode(), False)
    try:
        await answer.read()
    finally:
        answer.close()
    return answer.status
