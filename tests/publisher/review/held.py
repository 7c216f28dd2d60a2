"""A fake broker whose calls can be held, and a publisher at several of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from publisher.config.values import BrokerAddress, Config, Provider
from publisher.life import Publisher
from publisher.link.session import SessionFile
from tests.publisher.running import SHORT
from tests.support.backend import Backend
from tests.support.fake_broker import FakeBroker


class HeldBroker(FakeBroker):
    """A call named in ``held`` is taken in, and answered when its event is set."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, asyncio.Event] = {}

    def hold(self, call: str) -> asyncio.Event:
        event = self.held[call] = asyncio.Event()
        return event

    async def _noted(self, call, request):
        answer = await super()._noted(call, request)
        if call in self.held:
            await self.held[call].wait()
        return answer


@dataclass
class Publishing:
    backend: Backend
    brokers: list[HeldBroker]
    publisher: Publisher
    running: asyncio.Task[int]

    def config(self, *providers: Provider, at: list[HeldBroker] | None = None, token: str = "t") -> Config:
        given = providers or (self.provider("m"),)
        return Config(tuple(BrokerAddress(one.url, token) for one in at or self.brokers), given)

    def provider(self, name: str, **more: object) -> Provider:
        return Provider(**{"name": name, "url": self.backend.url, "model": "m", "slots": 4, **more})


@contextlib.asynccontextmanager
async def publishing(
    folder: Path, brokers: int = 1, at: slice = slice(None), *, ready: bool = True, hold: str = "",
    timers: dict | None = None, **provider: object,
) -> AsyncIterator[Publishing]:
    """``at``: those of the brokers that it publishes at from the start; ``hold``: a call that the first holds."""
    async with contextlib.AsyncExitStack() as stack:
        backend = await stack.enter_async_context(Backend())
        made = [await stack.enter_async_context(HeldBroker()) for _ in range(brokers)]
        if hold:
            made[0].hold(hold)
        s = Publishing(backend, made, None, None)
        config = s.config(s.provider("m", **provider), at=made[at])
        s.publisher = Publisher(
            config, lambda address: SessionFile(folder / address.url[-5:]), replace(SHORT, **(timers or {}))
        )
        s.running = asyncio.create_task(s.publisher.run())
        try:
            if ready:
                for one in made[at]:
                    await one.ready()
            yield s
        finally:
            s.publisher.stop()
            s.publisher.stop()
            for one in made:
                for event in one.held.values():
                    event.set()
            async with asyncio.timeout(10):
                await asyncio.wait([s.running])
