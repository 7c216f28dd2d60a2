"""Clients of kept streams: what they read, event by event, and how they come back for the rest."""

from __future__ import annotations

import asyncio

import aiohttp

from tests.support.brokers import Replica

RESUMABLE = {"X-Resumable": "true"}


def events(body: bytes) -> list[tuple[str, bytes]]:
    """(id, payload) of each event; '' for one without an id. Comments are none."""
    found = []
    for block in body.split(b"\n\n"):
        lines = [line for line in block.split(b"\n") if line and not line.startswith(b":")]
        if lines:
            ids = [line[4:].decode() for line in lines if line.startswith(b"id: ")]
            found.append((ids[0] if ids else "", b"\n".join(line[6:] for line in lines if line.startswith(b"data: "))))
    return found


async def read_event(response: aiohttp.ClientResponse, limit_s: float = 20.0) -> tuple[str, bytes]:
    """The next event; comments are passed over."""
    async with asyncio.timeout(limit_s):
        while True:
            if found := events(await response.content.readuntil(b"\n\n")):
                return found[0]


def resume(broker: Replica, stream: str, after: str = "", headers: dict | None = None):
    """The answer to a client that comes back (an async context manager)."""
    params = {"after": after} if after else {}
    return broker.http.get(f"{broker.url}/api/v1/streams/{stream}", params=params, headers=headers)


async def rest(broker: Replica, stream: str, after: str = "", headers: dict | None = None) -> list[tuple[str, bytes]]:
    """The events after that one, to the end."""
    async with resume(broker, stream, after, headers) as response:
        assert response.status == 200, await response.text()
        return events(await response.read())
