"""Who dies when: one deed at a time, its victims started again soon after."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from tests.chaos.history import Death, History
from tests.support.processes import Process
from tests.support.server import Server

#: After a round nobody dies for so long: what goes wrong then has no excuse.
_QUIET_S = 6.0


class Havoc:
    """``publishers`` by the name of their LLM."""

    def __init__(
        self, replicas: list[Process], publishers: dict[str, Process], redis: Server, history: History, dice: random.Random
    ):
        self._replicas = replicas
        self._publishers = publishers
        self._redis = redis
        self._history = history
        self._dice = dice

    async def run(self, seconds: float, between_s: tuple[float, float] = (0.4, 2.0)) -> None:
        until = time.monotonic() + seconds
        deeds: list[Callable[[], Awaitable[None]]] = [
            self._kill_replica, self._restart_replica, self._stall_replica, self._kill_both_replicas, self._kill_publisher,
            self._restart_publisher, self._stall_publisher, self._kill_redis, self._stall_redis,
            lambda: self._at_once(self._kill_redis, self._kill_replica),
            lambda: self._at_once(self._kill_publisher, self._kill_replica),
        ]
        order: list[Callable[[], Awaitable[None]]] = []
        while time.monotonic() < until:
            if not order:
                # Each deed once in a round, so that a short run has seen them all.
                order = self._dice.sample(deeds, len(deeds))
                await asyncio.sleep(_QUIET_S if self._history.deaths else 0)
            await order.pop()()
            await asyncio.sleep(self._dice.uniform(*between_s))

    async def _at_once(self, *deeds: Callable[[], Awaitable[None]]) -> None:
        await asyncio.gather(*(deed() for deed in deeds))

    def _died(self, deed: str, victim: str) -> Death:
        return self._history.died(deed, victim, time.monotonic())

    async def _kill_replica(self) -> None:
        await self._replace("kill replica", self._dice.choice(self._replicas), Process.kill)

    async def _restart_replica(self) -> None:
        await self._replace("restart replica", self._dice.choice(self._replicas), Process.terminate)

    async def _kill_both_replicas(self) -> None:
        await asyncio.gather(*(self._replace("kill both replicas", one, Process.kill) for one in self._replicas))

    async def _replace(self, deed: str, replica: Process, end: Callable[[Process], None]) -> None:
        death = self._died(deed, replica.url)
        end(replica)
        await replica.ended()
        replica.start()
        await replica.ready()
        death.back = time.monotonic()

    async def _stall_replica(self) -> None:
        """So long, sometimes, that the others take it for dead."""
        replica = self._dice.choice(self._replicas)
        death = self._died("stall replica", replica.url)
        replica.freeze()
        await asyncio.sleep(self._dice.uniform(0.5, 3))
        replica.thaw()
        # What it was to say meanwhile it says now.
        death.back = time.monotonic() + 1

    async def _kill_publisher(self) -> None:
        name = self._dice.choice([*self._publishers])
        death = self._died("kill publisher", name)
        self._publishers[name].kill()
        death.back = time.monotonic()
        self._publishers[name].start()

    async def _restart_publisher(self) -> None:
        name = self._dice.choice([*self._publishers])
        death = self._died("restart publisher", name)
        self._publishers[name].terminate()
        await self._publishers[name].ended()
        death.back = time.monotonic()
        self._publishers[name].start()

    async def _stall_publisher(self) -> None:
        """It loses nothing by that, so it is no excuse for anything."""
        name = self._dice.choice([*self._publishers])
        self._died("stall publisher", f"nobody, for {name} lives").back = 0
        self._publishers[name].freeze()
        await asyncio.sleep(self._dice.uniform(0.5, 2))
        self._publishers[name].thaw()

    async def _kill_redis(self) -> None:
        death = self._died("kill redis", "redis")
        self._redis.kill()
        await asyncio.sleep(self._dice.uniform(0, 0.5))
        await asyncio.to_thread(self._redis.start)
        death.back = time.monotonic()

    async def _stall_redis(self) -> None:
        death = self._died("stall redis", "redis")
        self._redis.stop()
        await asyncio.sleep(self._dice.uniform(0.5, 2))
        self._redis.cont()
        death.back = time.monotonic()
