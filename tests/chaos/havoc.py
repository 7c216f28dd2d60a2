"""Who dies when: one victim at a time, started again soon after."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from tests.chaos.history import History
from tests.support.processes import Process
from tests.support.server import Server


class Havoc:
    def __init__(
        self, replicas: list[Process], publishers: list[Process], redis: Server, history: History, dice: random.Random
    ):
        self._replicas = replicas
        self._publishers = publishers
        self._redis = redis
        self._history = history
        self._dice = dice

    async def run(self, seconds: float, between_s: tuple[float, float] = (0.4, 2.0)) -> None:
        until = time.monotonic() + seconds
        deeds: list[Callable[[], Awaitable[None]]] = [
            self._kill_replica, self._restart_replica, self._kill_publisher, self._restart_publisher,
            self._kill_redis, self._stall_redis,
        ]
        order: list[Callable[[], Awaitable[None]]] = []
        while time.monotonic() < until:
            # Each deed once in a round, so that a short run has seen them all.
            order = order or self._dice.sample(deeds, len(deeds))
            deed = order.pop()
            self._history.deaths[deed.__name__.strip("_").replace("_", " ")] += 1
            await deed()
            await asyncio.sleep(self._dice.uniform(*between_s))

    async def _kill_replica(self) -> None:
        await self._replace(self._dice.choice(self._replicas), Process.kill)

    async def _restart_replica(self) -> None:
        await self._replace(self._dice.choice(self._replicas), Process.terminate)

    async def _replace(self, replica: Process, end: Callable[[Process], None]) -> None:
        self._history.down(replica.url, time.monotonic())
        end(replica)
        await replica.ended()
        replica.start()
        await replica.ready()
        self._history.up(replica.url, time.monotonic())

    async def _kill_publisher(self) -> None:
        publisher = self._dice.choice(self._publishers)
        publisher.kill()
        publisher.start()

    async def _restart_publisher(self) -> None:
        publisher = self._dice.choice(self._publishers)
        publisher.terminate()
        await publisher.ended()
        publisher.start()

    async def _kill_redis(self) -> None:
        self._redis.kill()
        await asyncio.sleep(self._dice.uniform(0, 0.5))
        await asyncio.to_thread(self._redis.start)

    async def _stall_redis(self) -> None:
        self._redis.stop()
        await asyncio.sleep(self._dice.uniform(0.5, 2))
        self._redis.cont()
