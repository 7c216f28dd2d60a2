"""One run of the program, from its first look at the backends to its last goodbye.

Puts the parts together and decides when it is over: a signal, another process
with the same session, a broken part. It knows no protocol and no backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets

import aiohttp

from publisher.backend import backend_of, is_up
from publisher.backoff import Backoff
from publisher.channel import Channel, Superseded
from publisher.client import Broker, Refused, Unavailable
from publisher.config import Config, Provider
from publisher.endpoint import Endpoint
from publisher.recipe import run_recipe
from publisher.registration import Registrar
from publisher.session import SessionFile
from publisher.timers import Timers
from publisher.uploads import Uploader
from publisher.wake import Wake
from publisher.watch import Watch
from publisher.worker import Worker

log = logging.getLogger("publisher")

OK = 0
FAILED = 1
BACKEND_KEEPALIVE_S = 4.0  # less than any server's own, so that we never write to a closing connection


class Publisher:
    def __init__(self, config: Config, session_file: SessionFile, timers: Timers = Timers()) -> None:
        self._config = config
        self._session_file = session_file
        self._timers = timers
        self._stop_asked = asyncio.Event()
        self._stop_at_once = asyncio.Event()

    def stop(self) -> None:
        """Once: finish what runs. Twice: at once."""
        if self._stop_asked.is_set():
            self._stop_at_once.set()
        self._stop_asked.set()

    async def run(self) -> int:
        timers = self._timers
        idle = aiohttp.ClientTimeout(total=None, sock_connect=10)
        jar = aiohttp.DummyCookieJar
        backend_pool = aiohttp.TCPConnector(limit=0, keepalive_timeout=BACKEND_KEEPALIVE_S)
        async with (
            aiohttp.ClientSession(cookie_jar=jar(), connector=aiohttp.TCPConnector(limit=0)) as to_broker,
            aiohttp.ClientSession(cookie_jar=jar(), connector=backend_pool, timeout=idle) as to_backends,
        ):
            self._assemble(to_broker, to_backends, timers)
            try:
                return await self._live()
            finally:
                await self._registrar.stop()

    def _assemble(
        self, to_broker: aiohttp.ClientSession, to_backends: aiohttp.ClientSession, timers: Timers
    ) -> None:
        config = self._config
        self._broker = Broker(to_broker, config.broker, config.token, secrets.token_hex(8), timers.call_timeout_s)
        self._endpoints = {p.name: self._endpoint(p, to_backends) for p in config.providers}
        endpoints = list(self._endpoints.values())
        retry = functools.partial(Backoff, timers.retry_first_s, timers.retry_most_s)
        self._registrar = Registrar(
            self._broker, endpoints, list(config.agents), self._session_file, retry(), timers.slow_retry_s
        )
        results_retry = functools.partial(Backoff, timers.results_retry_first_s, timers.results_retry_most_s)
        watch = self._watch = Watch(endpoints, self._broker, timers.availability_s)
        worker = self._worker = Worker(
            self._endpoints, self._broker, watch.fall_asleep, watch.hurry, timers.accept_after_s, results_retry
        )
        self._uploader = Uploader(self._broker.results, self._registrar.again, worker.settled, results_retry())
        worker.upload_through(self._uploader)
        self._channel = Channel(
            self._broker, worker.take, worker.refuse, self._registrar.again, retry(), timers.silence_s,
            timers.slow_retry_s,
        )
        self._registrar.registered_again = self._channel.reopen

    def _endpoint(self, provider: Provider, http: aiohttp.ClientSession) -> Endpoint:
        backend = backend_of(provider, http, self._timers.check_timeout_s)
        wake = sleep = None
        if provider.wake is not None:
            wake = Wake(
                provider.name,
                functools.partial(run_recipe, provider.wake, http),
                functools.partial(is_up, backend),
                lambda: self._registrar.beat_soon(),
                provider.max_wait_s,
                self._timers.wake_poll_s,
            )
        if provider.sleep is not None:
            sleep = functools.partial(run_recipe, provider.sleep, http)
        return Endpoint(provider, backend, wake, sleep)

    async def _live(self) -> int:
        names = ", ".join(f'"{e.name}" ({e.backend.url})' for e in self._endpoints.values())
        log.info("publishing %s at %s", names, self._broker.url)
        begin = asyncio.create_task(self._begin(), name="first registration")
        if not await self._unless_stopped(begin):
            return OK
        try:
            begin.result()
        except Refused as err:
            log.error("the broker %s refused the registration: %s", self._broker.url, err)
            return FAILED
        self._watching = asyncio.create_task(self._watch.run(), name="watch")
        loops = [
            self._watching,
            asyncio.create_task(self._channel.run(), name="channel"),
            asyncio.create_task(self._uploader.run(), name="uploads"),
            asyncio.create_task(self._registrar.run_heartbeat(), name="heartbeat"),
        ]
        try:
            return await self._until_over(loops)
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def _begin(self) -> None:
        await asyncio.gather(*(endpoint.look() for endpoint in self._endpoints.values()))
        await self._registrar.first()

    async def _until_over(self, loops: list[asyncio.Task[None]]) -> int:
        stop = asyncio.create_task(self._stop_asked.wait(), name="stop")
        done, _ = await asyncio.wait([stop, *loops], return_when=asyncio.FIRST_COMPLETED)
        if stop in done:
            await self._drain()
            return OK
        stop.cancel()
        failure = done.pop().exception()
        if isinstance(failure, Superseded):
            log.error(
                "another publisher uses this session (session file %s): stop it, or give this one its own "
                "--session-file", self._session_file.path,
            )
        else:
            log.error("the publisher broke: %r", failure, exc_info=failure)
        await self._worker.stop()
        return FAILED

    async def _drain(self) -> None:
        """Says goodbye first, so that no new work comes, then lets what runs finish."""
        running = self._worker.running
        log.info("stopping%s", f", {running} running tasks have {self._timers.drain_s:g} s" if running else "")
        self._worker.draining = True
        # From here on nothing may bring the rows back: no heartbeat, no status, no new channel.
        self._registrar.silent = True
        self._watching.cancel()
        self._channel.last_time()
        end = asyncio.create_task(self._finish_work(), name="drain")
        at_once = asyncio.create_task(self._stop_at_once.wait(), name="second signal")
        await asyncio.wait([end, at_once], return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        end.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timers.last_words_s):
                await self._worker.stop()
                await self._uploader.flushed()
        self._channel.close()
        log.info("stopped")

    async def _finish_work(self) -> None:
        try:
            await self._broker.goodbye()
        except (Refused, Unavailable) as err:
            log.warning("goodbye: %s", err)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timers.drain_s):
                await self._worker.finished()
                await self._uploader.flushed()

    async def _unless_stopped(self, task: asyncio.Task[None]) -> bool:
        """Waits for the task; False, and the task is gone, when a stop came first."""
        stop = asyncio.create_task(self._stop_asked.wait(), name="stop")
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            return False
        return True
