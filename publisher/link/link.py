"""Everything between this publisher and one broker, put together and kept going.

It registers what the roster holds, keeps the channel open, carries results, and
tells what falls asleep. It decides nothing about endpoints, and one broker's
trouble never reaches another's link.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable

import aiohttp

from publisher.activity import Activity
from publisher.link.backoff import Backoff
from publisher.link.beside import Beside
from publisher.link.channel import Channel
from publisher.link.client import Broker, Refused, Unavailable
from publisher.link.connector import Way
from publisher.link.registration import Registrar
from publisher.link.session import SessionFile
from publisher.link.uploads import Uploader
from publisher.published.endpoint import Endpoint
from publisher.published.roster import Roster
from publisher.status import BrokerStatus
from publisher.timers import Timers
from publisher.tools.tool_servers import ToolServers
from publisher.work.worker import Worker

log = logging.getLogger("publisher")


class Link:
    def __init__(
        self,
        broker: Broker,
        http: aiohttp.ClientSession,
        way: Way,
        roster: Roster,
        tools: ToolServers,
        beside: Beside,
        session_file: SessionFile,
        activity: Activity,
        idle_again: Callable[[], None],
        registered: Callable[[], None],
        timers: Timers,
    ) -> None:
        self.url = broker.url
        self.session_file = session_file
        self.way = way
        self._broker = broker
        self._http = http
        self._timers = timers
        retry = functools.partial(Backoff, timers.retry_first_s, timers.retry_most_s)
        results_retry = functools.partial(Backoff, timers.results_retry_first_s, timers.results_retry_most_s)
        self._registrar = Registrar(broker, roster, beside, session_file, registered, retry(), timers.slow_retry_s)
        self._worker = Worker(
            roster, tools, broker, activity, idle_again, self._registrar.woken, timers.accept_after_s, results_retry
        )
        self._uploader = Uploader(broker.results, self._registrar.again, self._worker.settled, results_retry())
        self._worker.upload_through(self._uploader)
        self._channel = Channel(
            broker, self._worker.take, self._worker.refuse, self._registrar.again, retry(), timers.silence_s,
            timers.slow_retry_s, timers.working_retry_s, lambda: self._worker.in_hand,
        )
        self._registrar.registered_again = self._channel.reopen
        self._registrar.broker_answers = self._channel.broker_answers
        self._registrar.session_lost = self._worker.waking.clear
        self._loops: list[asyncio.Task[None]] = []
        self._refused = False

    async def begin(self) -> None:
        """The first registration. Raises ``Refused``; waits for rows, and for a broker that is not there."""
        try:
            await self._registrar.first()
        except Refused:
            self._refused = True
            raise

    async def run(self) -> None:
        """Until cancelled, or for ever. Raises ``Superseded``, and what a broken part raised."""
        self._loops = [
            asyncio.create_task(self._channel.run(), name="channel"),
            asyncio.create_task(self._uploader.run(), name="uploads"),
            asyncio.create_task(self._registrar.run_heartbeat(), name="heartbeat"),
        ]
        try:
            await asyncio.gather(*self._loops)
        finally:
            for loop in self._loops:
                loop.cancel()
            await asyncio.gather(*self._loops, return_exceptions=True)

    @property
    def running(self) -> int:
        return self._worker.running

    def changed(self) -> None:
        """Rows came, went or changed: registers what there is now, without a new channel."""
        self._registrar.changed()

    def beside_changed(self, beside: Beside) -> None:
        self._registrar.beside = beside
        self.changed()

    def beat(self) -> None:
        self._registrar.beat_soon()

    def moved(self) -> None:
        """The machine slept, or its network changed: no connection is to be trusted."""
        self.way.cut()
        self._channel.reopen()
        self._registrar.beat_soon()

    def knows(self, endpoint: Endpoint) -> bool:
        """Whether the broker's word is the endpoint's own, or will be by the task that wakes it."""
        told = self._registrar.told.get(endpoint.name)
        return told is None or told == endpoint.status or endpoint.name in self._worker.waking

    async def tell(self, endpoint: Endpoint, status: str) -> bool:
        """False when the broker does not agree: it has work for one that is to sleep, or does not know the word."""
        if self._registrar.told.get(endpoint.name) in (None, status):
            return True
        return await self._registrar.tell(endpoint.name, status)

    def status(self) -> BrokerStatus:
        state = "refused" if self._refused else self._registrar.state
        if state == "registered":
            state = "open" if self._channel.open else "connecting"
        last = max((self._registrar.trouble, self._channel.trouble), key=lambda trouble: trouble.at)
        since = max(self._registrar.since, self._channel.since)
        now = time.monotonic()
        return BrokerStatus(
            self.url, state, self._broker.session, since_s=now - since, last_error=last.text,
            last_error_ago_s=now - last.at if last.text else None,
        )

    async def drain(self, at_once: asyncio.Event) -> None:
        """Says goodbye first, so that no new work comes, then lets what runs finish."""
        self._worker.draining = True
        # From here on nothing may bring the rows back: no heartbeat, no status, no new channel.
        self._registrar.silent = True
        self._channel.last_time()
        end = asyncio.create_task(self._finish_work(), name="drain")
        hurry = asyncio.create_task(at_once.wait(), name="second signal")
        await asyncio.wait([end, hurry], return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        end.cancel()
        await self.stop_work()
        self._channel.close()

    async def stop_work(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timers.last_words_s):
                await self._worker.stop()
                await self._uploader.flushed()

    async def close(self) -> None:
        await self._registrar.stop()
        await self._http.close()

    async def _finish_work(self) -> None:
        try:
            await self._registrar.goodbye(self._timers.last_words_s)
        except (Refused, Unavailable) as err:
            log.warning("goodbye: %s", err)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timers.drain_s):
                await self._worker.finished()
                if self._registrar.told:  # else nobody would take the results
                    await self._uploader.flushed()
