"""A publisher with two models: ``m`` at a healthy backend, and ``broken`` somewhere else.

What happens to the one must never be felt by the other: ``the_other_answers``
asks the healthy one. All timers are short.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from publisher.config.values import BrokerAddress, Config, Provider
from publisher.life import Publisher
from publisher.link.session import SessionFile
from tests.publisher.running import SHORT
from tests.support.backend import Backend
from tests.support.fake_broker import FakeBroker, Told

STREAM = {"messages": [], "stream": True}
WHOLE = {"messages": []}


@dataclass
class Sides:
    broker: FakeBroker
    healthy: Backend
    publisher: Publisher
    running: asyncio.Task[int]

    async def broken(self, request: dict, **more: object) -> Told:
        """One task for the broken model, not waited for."""
        return await self.broker.infer(request, llm="broken", **more)

    async def ends(self, request: dict, limit_s: float = 20.0, **more: object) -> Told:
        """One task for the broken model, to its one and only end."""
        told = await self.broken(request, **more)
        return await self.broker.ended(told, limit_s)

    async def fails(self, request: dict, limit_s: float = 20.0, **more: object) -> str:
        """The reason that the task for the broken model ended with."""
        told = await self.ends(request, limit_s, **more)
        assert "error" in told.last, told.last
        assert told.last["code"] and "\n" not in told.last["error"]
        return told.last["error"]

    async def the_other_answers(self, limit_s: float = 10.0) -> None:
        async with asyncio.timeout(limit_s):
            told = await self.broker.ended(await self.broker.infer(STREAM))
        assert told.payloads[-1] == "[DONE]" and len(told.payloads) == 4

    @property
    def row(self):
        """What the publisher says of the broken model."""
        return next(row for row in self.publisher.status().rows if row.name == "broken")

    def at_rest(self) -> bool:
        """Nothing is left of any task: no slot, no work."""
        return all(not (row.running or row.waiting) for row in self.publisher.status().rows)


@contextlib.asynccontextmanager
async def side_by_side(
    url: str, *, broker: FakeBroker | None = None, wait_ready: bool = True, timers: dict | None = None,
    token: str = "secret-token", **provider: object
) -> AsyncIterator[Sides]:
    """``url``: the broken model's backend."""
    with tempfile.TemporaryDirectory() as home:
        async with Backend() as healthy, broker or FakeBroker() as broker:
            providers = (
                Provider(name="m", url=healthy.url, model="real", slots=4),
                Provider(**{"name": "broken", "url": url, "model": "real", "slots": 4, **provider}),
            )
            config = Config((BrokerAddress(broker.url, token),), providers)
            file = SessionFile(Path(home) / "session.json")
            publisher = Publisher(config, lambda _: file, replace(SHORT, **(timers or {})))
            running = asyncio.create_task(publisher.run())
            try:
                if wait_ready:
                    await broker.ready()
                sides = Sides(broker, healthy, publisher, running)
                yield sides
                if wait_ready:
                    assert not running.done(), "the publisher must live on"
                    assert sides.at_rest()
            finally:
                publisher.stop()
                publisher.stop()
                async with asyncio.timeout(10):
                    await asyncio.wait([running])
