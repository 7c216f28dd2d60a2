"""Brokers inside the test's process: real HTTP on a free port, settings of the test's choice."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from broker.app import Broker
from broker.http.edge import Runner
from broker.settings import Settings
from tests.support.ending import end
from tests.support.places import Place

#: Timers that make a test quick; a test gives its own where it is about them.
QUICK = {
    "tick_seconds": 0.02, "sweep_seconds": 0.05, "heartbeat_seconds": 0.05, "replica_ttl_seconds": 1.0,
    "reconnect_grace_seconds": 0.3, "shutdown_seconds": 1.0,
}


class Replica:
    """One running broker. ``http`` is a client session; ``call`` answers (status, JSON, headers)."""

    def __init__(self, broker: Broker, url: str, http: aiohttp.ClientSession, runner: Runner | None = None):
        self.broker = broker
        self.url = url
        self.http = http
        self._runner = runner

    async def die(self) -> None:
        """As a killed process: its connections break, and nothing that it does reaches Redis any more."""
        await self.broker.store.close()
        for connection in list(self._runner.server.connections):
            if connection.transport:
                connection.transport.abort()
        # Handlers that end now leave errands behind, which nobody will ever run.
        await asyncio.sleep(0.05)
        for errand in list(self.broker.post._errands):
            errand.cancel()

    async def call(self, method: str, path: str, body: object = None, *, headers: dict | None = None):
        """``body``: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data and len(data) > 1 << 20:
            data = io.BytesIO(data)  # aiohttp's client warns about large bodies in one piece
        async with self.http.request(method, self.url + path, data=data, headers=headers) as response:
            text = await response.read()
            try:
                content = json.loads(text) if text else None
            except ValueError:
                content = text
            return response.status, content, response.headers

    async def chat(self, model: str, *, headers: dict | None = None, **more):
        """One chat completion without streaming: (status, JSON, headers)."""
        return await self.call("POST", "/v1/chat/completions", {"model": model, "messages": [], **more}, headers=headers)

    async def llm(self, name: str) -> dict:
        status, row, _ = await self.call("GET", f"/api/v1/llms/{name}")
        assert status == 200, row
        return row

    async def until_status(self, name: str, status: str, limit_s: float = 20.0) -> dict:
        """Waits until the row of that name has that status."""
        async with asyncio.timeout(limit_s):
            while True:
                row = await self.llm(name)
                if row["status"] == status:
                    return row
                await asyncio.sleep(0.01)


@asynccontextmanager
async def replica(place: Place, **given) -> AsyncIterator[Replica]:
    """A broker at that place. Several on one place are replicas of one another."""
    settings: Settings = place.settings(**{**QUICK, **given})
    store = place.open_store(settings)
    broker = Broker(settings, store)
    runner = Runner(broker.app, keepalive_timeout=settings.keepalive_seconds)
    await runner.setup()
    try:
        async with broker.running():
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = site._server.sockets[0].getsockname()[1]
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=None)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
                yield Replica(broker, f"http://127.0.0.1:{port}", http, runner)
                await broker.drain(0)
            await end(runner)
    finally:
        await end(runner)
        await store.close()
