"""A whole system whose every part a test may mistreat: each has a Redis server of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.support import processes
from tests.support.brokers import Replica
from tests.support.live import Stream
from tests.support.places import ServerPlace
from tests.support.processes import Process, Stage, client
from tests.support.server import Server, single_server


@dataclass
class System:
    """One of each; the publisher serves ``m``."""

    redis: Server
    stage: Stage
    broker: Process
    publisher: Process
    backend: Process
    api: Replica

    def stream(self, **script) -> Stream:
        return Stream(self.api, "m", script=script)

    async def serves(self, within_s: float) -> None:
        """A request is answered at the latest after so long; until then refusals are 503s that say
        when to come again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while True:
            status, answer, headers = await self.api.chat("m")
            if status == 200:
                return
            assert status == 503 and "Retry-After" in headers, answer
            assert loop.time() < until, f"not back after {within_s:g} s: {answer}"
            await asyncio.sleep(0.05)


@pytest.fixture
def own_redis(tmp_path):
    """A server that no other test uses."""
    with single_server(tmp_path) as server:
        yield server


@pytest.fixture
def own_stage(own_redis, tmp_path):
    with processes.stage(tmp_path, ServerPlace(own_redis)) as made:
        yield made


@pytest.fixture
def system(own_redis, own_stage) -> Callable[..., object]:
    """``async with system(…broker settings…) as s``."""

    @asynccontextmanager
    async def made(**settings) -> AsyncIterator[System]:
        broker, backend = await asyncio.gather(own_stage.broker(**settings).ready(), own_stage.backend().ready())
        publisher = await own_stage.publisher(broker.url, {"name": "m", "url": backend.url, "slots": 8}).ready()
        async with client(broker.url) as api:
            yield System(own_redis, own_stage, broker, publisher, backend, api)

    return made
