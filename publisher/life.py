"""One run of the program, from its first look at the backends to its last goodbye.

Puts the parts together and decides when it is over: a signal, another process
with the same session, a broken part. It knows no protocol and no backend.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable

import aiohttp

from broker import __version__
from publisher.activity import Activity
from publisher.config.values import BrokerAddress, Config
from publisher.link.beside import Beside
from publisher.link.brokers import FAILED, Brokers
from publisher.link.client import Broker
from publisher.link.connector import Way
from publisher.link.link import Link
from publisher.link.links import Links
from publisher.link.session import SessionFile
from publisher.memory import memory_bytes
from publisher.power.idle import Idle
from publisher.power.prewarm import Prewarm
from publisher.power.watch import Watch
from publisher.published.catalog import Catalog
from publisher.published.maker import Maker
from publisher.published.roster import MOST, Roster
from publisher.published.rows import row_status
from publisher.status import Status
from publisher.timers import Timers
from publisher.tools.tool_servers import ToolServers

log = logging.getLogger("publisher")

OK = 0
BACKEND_KEEPALIVE_S = 4.0  # less than any server's own, so that we never write to a closing connection


class Publisher:
    def __init__(
        self,
        config: Config,
        session_file: Callable[[BrokerAddress], SessionFile],
        timers: Timers = Timers(),
        activity: Activity | None = None,
        config_path: str = "",
        registered: Callable[[], None] = lambda: None,
    ) -> None:
        self.activity = activity or Activity()
        self._config_error = ""
        self._config = config
        self._config_path = config_path
        self._session_file = session_file
        self._timers = timers
        self._registered = registered
        self._began = time.monotonic()
        self._stop_asked = asyncio.Event()
        self._stop_at_once = asyncio.Event()
        self._failure: asyncio.Future[int]
        self._applying = asyncio.Lock()
        self.links = Links()
        self.roster: Roster

    def stop(self) -> None:
        """Once: finish what runs. Twice: at once."""
        if self._stop_asked.is_set():
            self._stop_at_once.set()
        self._stop_asked.set()

    async def run(self) -> int:
        self._failure = asyncio.get_running_loop().create_future()
        idle = aiohttp.ClientTimeout(total=None, sock_connect=10)
        pool = aiohttp.TCPConnector(limit=0, keepalive_timeout=BACKEND_KEEPALIVE_S)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=pool, timeout=idle) as http:
            self._assemble(http)
            try:
                return await self._live()
            finally:
                await self._close()

    async def apply(self, config: Config) -> None:
        """Another config takes the place of the one before. What is in both goes on undisturbed."""
        async with self._applying:
            if self._stop_asked.is_set():
                return
            before, self._config = self._beside(), config
            self._tools.set(config.tools)
            await self._catalog.set(config.providers)
            await self._brokers.set(config.brokers)
            if self._beside() != before:
                for link in self.links:
                    link.beside_changed(self._beside())

    def bad_config(self, what: str) -> None:
        """Of the last edit, for those who ask how it is; empty when there is nothing wrong with it."""
        self._config_error = what

    def status(self) -> Status:
        speeds = self.activity.tokens_per_s()
        return Status(
            version=__version__, pid=os.getpid(), up_s=time.monotonic() - self._began, config=self._config_path,
            config_error=self._config_error, memory_bytes=memory_bytes(),
            brokers=[link.status() for link in self.links],
            rows=[
                row_status(endpoint, self.activity.tally(endpoint.name), speeds.get(endpoint.name, 0.0))
                for endpoint in self.roster
            ] + self._tools.rows(self.activity),
        )

    def _assemble(self, http: aiohttp.ClientSession) -> None:
        timers = self._timers
        self._watch = Watch(lambda: self.roster, self.links.announce, self.links.changed, timers.availability_s)
        maker = Maker(http, self.links, self.activity, timers, self._watch.hurry)
        self.roster = Roster(maker.endpoint, self.links.changed)
        self._tools = ToolServers(timers.tool_start_s)
        self._catalog = Catalog(maker.backend, self._publish, timers.models_s)
        self._idle = Idle(lambda: self.roster)
        self._prewarm = Prewarm(lambda: self.roster, timers.prewarm_s, timers.prewarm_retry_s)
        self._brokers = Brokers(self.links, self._link, self._registered, self._fail, self._stop_at_once)

    async def _publish(self, providers) -> None:
        await self.roster.publish(providers, MOST - len(self._config.agents) - len(self._tools))
        self.activity.keep(served.name for served in (*self.roster, *self._tools))

    def _beside(self) -> Beside:
        return Beside(self._config.agents, self._tools.entries, llms_come=bool(self._config.providers))

    async def _live(self) -> int:
        self._tools.set(self._config.tools)
        await self._unless_stopped(asyncio.create_task(self._catalog.set(self._config.providers)))
        if self._stop_asked.is_set():
            return OK
        at = ", ".join(address.url for address in self._config.brokers)
        for endpoint in self.roster:
            log.info('publishing "%s" (%s) at %s', endpoint.name, endpoint.backend.url, at)
        for server in self._tools:
            log.info('publishing tool server "%s" (%s) at %s', server.told.name, server.told.url or server.told.command, at)
        await self._brokers.set(self._config.brokers)
        loops = [
            asyncio.create_task(self._watch.run(), name="watch"),
            asyncio.create_task(self._catalog.run(), name="models"),
            asyncio.create_task(self._idle.run(), name="idle"),
            asyncio.create_task(self._prewarm.run(), name="warm hours"),
        ]
        for loop in loops:
            loop.add_done_callback(self._broke)
        try:
            return await self._until_over()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def _until_over(self) -> int:
        stop = asyncio.create_task(self._stop_asked.wait(), name="stop")
        await asyncio.wait([stop, self._failure], return_when=asyncio.FIRST_COMPLETED)
        if self._failure.done():
            stop.cancel()
            await asyncio.gather(*(link.stop_work() for link in self.links))
            return self._failure.result()
        await self._drain()
        return OK

    async def _drain(self) -> None:
        running = sum(link.running for link in self.links)
        log.info("stopping%s", f", {running} running tasks have {self._timers.drain_s:g} s" if running else "")
        await asyncio.gather(*(link.drain(self._stop_at_once) for link in self.links))
        log.info("stopped")

    async def _close(self) -> None:
        await self._brokers.close()
        await asyncio.gather(self.roster.stop(), self._tools.stop())
        self._failure.cancel()

    def _link(self, address: BrokerAddress) -> Link:
        way = Way.of(address)
        http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=way.connector(), proxy=way.proxy)
        broker = Broker(http, address.url, address.token, secrets.token_hex(8), self._timers.call_timeout_s)
        return Link(
            broker, http, way, self.roster, self._tools, self._beside(), self._session_file(address), self.activity,
            self._watch.hurry, self._announce_all, self._timers,
        )

    def _announce_all(self) -> None:
        for endpoint in self.roster:
            self.links.announce(endpoint)

    # ── its end ─────────────────────────────────────────────────────────────

    def _broke(self, loop: asyncio.Task[None]) -> None:
        if not loop.cancelled() and (failure := loop.exception()) is not None:
            log.error("the publisher broke: %r", failure, exc_info=failure)
            self._fail()

    def _fail(self, code: int = FAILED) -> None:
        if not self._failure.done():
            self._failure.set_result(code)

    async def _unless_stopped(self, task: asyncio.Task[None]) -> None:
        """Waits for the task; when a stop comes first, the task is gone."""
        stop = asyncio.create_task(self._stop_asked.wait(), name="stop")
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()
        else:
            task.cancel()
            await asyncio.wait([task])
