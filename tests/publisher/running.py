"""A publisher inside the test's own process, between a fake broker and a scripted backend.

``scene`` gives all three and checks at the end that the publisher leaves nothing
running. All timers are short, so no test waits for a default.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path

from broker import wire
from publisher.config.values import BrokerAddress, Command, Config, Http, Provider, Recipe
from publisher.life import Publisher
from publisher.link.session import SessionFile
from publisher.timers import Timers
from tests.support.backend import Backend, Script
from tests.support.fake_broker import FakeBroker

SHORT = Timers(
    accept_after_s=0.05, availability_s=0.05, models_s=0.05, check_timeout_s=5, wake_poll_s=0.02, settle_s=5, canary_s=5, retry_first_s=0.01,
    retry_most_s=0.05, working_retry_s=0.05, results_retry_first_s=0.01, results_retry_most_s=0.05, slow_retry_s=0.05, silence_s=5,
    call_timeout_s=5, drain_s=5, last_words_s=1,
)


@dataclass
class Scene:
    broker: FakeBroker
    backend: Backend
    publisher: Publisher
    running: asyncio.Task[int]

    async def stopped(self) -> int:
        self.publisher.stop()
        return await self.running

    async def ask(self, request: dict | None = None, **script: object):
        """One task from the broker to its end."""
        body = {"messages": [], **(request or {})}
        if script:
            body["script"] = script
        return await self.broker.ended(await self.broker.infer(body))


@contextlib.asynccontextmanager
async def scene(
    *,
    script: Script | None = None,
    heartbeat_s: float = 30.0,
    session_file: Path | None = None,
    agents: tuple[wire.AgentEntry, ...] = (),
    prepare: Callable[[FakeBroker, Backend], None] = lambda broker, backend: None,
    wait_ready: bool = True,
    timers: dict | None = None,
    **provider: object,
) -> AsyncIterator[Scene]:
    with tempfile.TemporaryDirectory() as home:
        async with Backend(script=script or Script()) as backend, FakeBroker(heartbeat_s) as broker:
            prepare(broker, backend)
            for kind in ("wake", "sleep"):
                if isinstance(provider.get(kind), Command | Http):
                    provider[kind] = Recipe((provider[kind],))
            told = Provider(**{"name": "m", "url": backend.url, "model": "real", "slots": 8, **provider})
            config = Config((BrokerAddress(broker.url, "secret-token"),), (told,), agents)
            file = SessionFile(session_file or Path(home) / "session.json")
            publisher = Publisher(config, lambda _: file, replace(SHORT, **(timers or {})))
            running = asyncio.create_task(publisher.run())
            try:
                if wait_ready:
                    await broker.ready()
                yield Scene(broker, backend, publisher, running)
            finally:
                publisher.stop()
                publisher.stop()
                async with asyncio.timeout(10):
                    await asyncio.wait([running])


def play(test: Coroutine[object, object, None]) -> None:
    """Runs one test and fails it when a task is left behind."""

    async def alone() -> None:
        async with asyncio.timeout(30):
            await test
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f"left running: {left}"

    asyncio.run(alone())
