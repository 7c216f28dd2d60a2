"""Clients of a broker's streams: what a stream said, payload by payload."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from tests.support.brokers import Replica


@dataclass
class Said:
    """A whole streamed answer. ``payloads`` are what SSE says of its ``data:`` lines."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def payloads(self) -> list[bytes]:
        return payloads(self.body)

    @property
    def comments(self) -> int:
        return sum(line.startswith(b":") for line in self.body.split(b"\n"))

    @property
    def error(self) -> dict:
        """The in-stream error, which is the last event."""
        return json.loads(self.payloads[-1])["error"]


def payloads(body: bytes) -> list[bytes]:
    """Read as an SSE client does: data lines are joined, an empty line ends an event."""
    found, lines = [], []
    for line in body.split(b"\n"):
        if line.startswith(b"data: "):
            lines.append(line[6:])
        elif not line and lines:
            found.append(b"\n".join(lines))
            lines = []
        elif line and not line.startswith(b":"):
            raise AssertionError(f"a stream holds data lines and comments only, not {line[:80]!r}")
    assert not lines, f"the stream broke off within an event: {lines!r}"
    return found


@asynccontextmanager
async def streaming(broker: Replica, model: str, *, headers: dict | None = None, **more):
    """An open stream; entered when its status is there."""
    body = {"model": model, "messages": [], "stream": True, **more}
    async with broker.http.post(broker.url + "/v1/chat/completions", json=body, headers=headers) as response:
        yield response


async def stream(broker: Replica, model: str, *, headers: dict | None = None, **more) -> Said:
    """Reads a stream to its end."""
    async with streaming(broker, model, headers=headers, **more) as response:
        return Said(response.status, response.headers, await response.read())


def asked(coroutine) -> asyncio.Task:
    """A client that asks while the test plays the publisher."""
    return asyncio.create_task(coroutine)


async def event_of(response: aiohttp.ClientResponse, limit_s: float = 20.0) -> bytes:
    """The next event or comment as it came over the wire."""
    async with asyncio.timeout(limit_s):
        return await response.content.readuntil(b"\n\n")
