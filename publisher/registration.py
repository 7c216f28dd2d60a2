"""Registers at the broker and keeps the registration alive.

The first registration decides whether the program runs at all; a later one
follows when the broker no longer knows the session. Whoever notices that asks
here, and one registration answers them all. It never touches running tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from broker.wire import AgentEntry, Registered, Registration
from publisher.backoff import Backoff
from publisher.client import Broker, Refused, Unavailable
from publisher.endpoint import Endpoint
from publisher.session import SessionFile

SHORTEST_HEARTBEAT_S = 0.01

log = logging.getLogger("publisher")


class Registrar:
    def __init__(
        self,
        broker: Broker,
        endpoints: list[Endpoint],
        agents: list[AgentEntry],
        session_file: SessionFile,
        backoff: Backoff,
        slow_retry_s: float,
    ) -> None:
        self._broker = broker
        self._endpoints = endpoints
        self._agents = agents
        self._file = session_file
        self._backoff = backoff
        self._slow_retry_s = slow_retry_s
        self._heartbeat_s = 30.0
        self._beat = asyncio.Event()
        self._again: asyncio.Task[None] | None = None
        self.registered_again: Callable[[], None] = lambda: None
        self.silent = False  # after goodbye a heartbeat would bring the rows back

    async def first(self) -> None:
        """Raises ``Refused`` when the broker says no; waits as long as it is not there."""
        self._broker.session = self._file.load()
        while True:
            try:
                return self._noted(await self._register())
            except Unavailable as err:
                wait_s = self._backoff.next_s()
                log.warning("broker %s: %s; next try in %.1f s", self._broker.url, err, wait_s)
                await asyncio.sleep(wait_s)

    async def again(self) -> None:
        """The broker does not know the session any more."""
        if self._again is None:
            self._again = asyncio.create_task(self._until_registered(), name="register again")
        await asyncio.shield(self._again)

    def beat_soon(self) -> None:
        self._beat.set()

    async def run_heartbeat(self) -> None:
        while not self.silent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    await self._beat.wait()
            self._beat.clear()
            if not self.silent:
                await self._heartbeat()

    async def stop(self) -> None:
        if self._again is not None:
            self._again.cancel()
            await asyncio.wait([self._again])

    async def _heartbeat(self) -> None:
        try:
            await self._broker.heartbeat()
        except Refused as err:
            if err.status == 404:
                await self.again()
            else:
                log.error("heartbeat refused: %s", err)
        except Unavailable as err:
            log.warning("heartbeat: %s", err)

    async def _until_registered(self) -> None:
        log.warning("the broker no longer knows this session, registering again")
        self._backoff.reset()
        try:
            while not self.silent:
                try:
                    self._noted(await self._register())
                    return self.registered_again()
                except Unavailable as err:
                    log.warning("broker %s: %s", self._broker.url, err)
                    await asyncio.sleep(self._backoff.next_s())
                except Refused as err:
                    log.error("registration refused: %s; trying again every %g s", err, self._slow_retry_s)
                    await asyncio.sleep(self._slow_retry_s)
        finally:
            self._again = None

    async def _register(self) -> Registered:
        try:
            return await self._broker.register(self._registration())
        except Refused as err:
            if err.code != "unknown_session" or self._broker.session is None:
                raise
            log.warning("session %s belongs to someone else, starting a new one", self._broker.session)
            self._file.forget()
            self._broker.forget_session()
            return await self._broker.register(self._registration())

    def _registration(self) -> Registration:
        return Registration(
            provider_session_id=self._broker.session,
            replace=True,
            accepts=True,
            providers=[endpoint.provider.entry(endpoint.status) for endpoint in self._endpoints],
            agents=self._agents,
        )

    def _noted(self, registered: Registered) -> None:
        self._backoff.reset()
        self._heartbeat_s = max(registered.heartbeat_seconds, SHORTEST_HEARTBEAT_S)
        self._file.save(registered.provider_session_id)
        log.info("registered at %s as session %s", self._broker.url, registered.provider_session_id)
