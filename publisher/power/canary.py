"""The canary: one token generated after a wake, before anybody is let in.

A server may look healthy and still not be able to answer. It goes around the
slots: nobody else is at the backend yet.
"""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec

from broker.dialects.broken import BrokenAnswer
from publisher.backends.seam import Backend
from publisher.config.values import Operation
from publisher.failures import TaskFailed, WakeFailed

MOST_BYTES = 1 << 20
SAID_CHARS = 200

REQUESTS: dict[str, dict] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1},
    "completions": {"prompt": "Hi", "max_tokens": 1},
    "embeddings": {"input": "Hi"},
}


async def sing(backend: Backend, model: str, operation: Operation, within_s: float) -> None:
    """Raises ``WakeFailed`` unless the backend answers one small request well."""
    body = msgspec.json.encode({"model": model, **REQUESTS[operation]})
    try:
        async with asyncio.timeout(within_s):
            answer = await backend.infer(operation, body, False)
            try:
                said = await _read(answer)
            finally:
                answer.close()
    except TimeoutError:
        raise WakeFailed(f"the server is up, but its canary gave no answer within {within_s:g} s") from None
    except (TaskFailed, BrokenAnswer, aiohttp.ClientError, OSError) as err:
        raise WakeFailed(f"the server is up, but its canary failed: {err}") from None
    if answer.status >= 300:
        text = " ".join(said.decode(errors="replace").split())[:SAID_CHARS]
        raise WakeFailed(f"the server is up, but its canary was answered with {answer.status}: {text}")


async def _read(answer) -> bytes:
    said = b""
    while len(said) < MOST_BYTES and (part := await answer.content.readany()):
        said += part
    return said
