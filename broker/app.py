"""Builds one replica from settings, in order, and takes it down in the opposite one.

Nobody imports this but the commands. The only place that starts background
duties: the post, the sign of life, what falls due, the sweep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from broker.chat.following import Following
from broker.chat.turns import Turns
from broker.errors import StoreUnavailable
from broker.http import routes
from broker.http.auth import Door, is_loopback
from broker.http.context import (
    DOOR, DRAINING, FOLLOWING, LIMITS, METRICS, POST, RELAY, STORE, TOOLBOXES, TURNS,
    UPSTREAMS, VAULT, Limits,
)
from broker.http.middleware import guard
from broker.metrics import Metrics
from broker.relay.exchange import Patience
from broker.relay.parts import failure
from broker.relay.post import Post
from broker.relay.relay import Relay
from broker.settings import Settings
from broker.store import Store, Timers
from broker.store.address import Address
from broker.tools.http_server import HttpServers
from broker.tools.publisher_server import PublisherServers
from broker.tools.toolbox import Toolboxes
from broker.upstream.caller import Upstreams
from broker.upstream.guard import Guard
from broker.vault import Vault

log = logging.getLogger(__name__)

#: How long turns that a shutdown ends may take to tell Redis so.
_LAST_WORDS_S = 2.0


def timers(settings: Settings) -> Timers:
    s = settings

    def ms(seconds: float) -> int:
        return int(seconds * 1000)

    return Timers(
        stale_ms=ms(s.stale_seconds), expire_ms=ms(s.expire_seconds), sweep_ms=ms(s.sweep_seconds),
        settle_ms=ms(s.heartbeat_seconds), accept_ms=ms(s.accept_seconds), grace_ms=ms(s.reconnect_grace_seconds),
        lease_grace_ms=ms(s.lease_grace_seconds), wake_limit_ms=ms(s.wake_limit_seconds),
        replica_ttl_ms=ms(s.replica_ttl_seconds), turn_events_ms=ms(s.turn_events_seconds),
    )


def open_store(settings: Settings, address: Address) -> Store:
    return Store.open(
        address, namespace=settings.namespace, timers=timers(settings), adoption=settings.adoption,
        queue_length=settings.queue_length, queue_bytes=settings.queue_bytes,
    )


class Broker:
    """One replica: its HTTP application and its duties. ``store`` is opened and closed by the caller.
    ``key_file``: where the key of secrets is, or is made, when the settings name none. Raises BadKey."""

    def __init__(self, settings: Settings, store: Store, *, key_file: Path | None = None):
        self.settings = settings
        self.store = store
        self.metrics = Metrics()
        self.post = Post(store)
        self.vault = Vault(settings.namespace, settings.secret_key, key_file)
        self.upstreams = Upstreams(Guard(settings.upstream_allow), self.vault, at_once=settings.upstream_requests)
        self.relay = Relay(store, self.post, self.upstreams, inline_bytes=settings.inline_request_bytes)
        self.toolboxes = Toolboxes(
            HttpServers(self.upstreams.guard, store.secrets, self.vault), PublisherServers(self.relay),
            seconds=settings.tool_seconds, result_bytes=settings.tool_result_bytes,
        )
        self.turns = Turns(
            store.turns, self.relay, self.toolboxes, ended=self.metrics.turned,
            request_bytes=settings.max_request_bytes, result_bytes=settings.max_result_bytes,
        )
        self.following = Following(store.turn_events, buffer_bytes=settings.client_buffer_bytes)
        self.app = self._application()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The duties run while inside. Redis need not be there yet."""
        s = self.settings
        try:
            await self.store.replica.beat(first=True)
            await self.store.warm_up()
        except StoreUnavailable:
            log.warning("Redis does not answer yet; requests get 503 until it does")
        duties = [
            asyncio.create_task(self.post.run()),
            asyncio.create_task(_every(s.replica_ttl_seconds / 3, self._beat)),
            asyncio.create_task(self.following.run()),
            asyncio.create_task(_every(s.tick_seconds, self.store.replica.reap)),
            asyncio.create_task(_every(s.tick_seconds, self.turns.look)),
            asyncio.create_task(_every(min(s.sweep_seconds, 5), self._sweep)),
        ]
        try:
            yield
        finally:
            await self.turns.close(0)
            await self.toolboxes.close()
            await self.upstreams.close()
            await self.post.finish(2)
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            try:
                await self.store.replica.leave()
            except StoreUnavailable:
                log.warning("Redis is away; the other replicas will clean up after this one")

    async def drain(self, within_s: float) -> None:
        """Stops taking requests and lets the running ones end. Publishers are sent elsewhere at once
        if there is an elsewhere; else they stay till the end, for what runs needs them."""
        self.app[DRAINING].append(True)
        if not await self._alone():
            self._send_publishers_away()
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while (self.post.exchanges or self.turns.running) and loop.time() < until:
            await asyncio.sleep(0.05)
        await self.turns.close(_LAST_WORDS_S)
        self.following.close()
        self._send_publishers_away()
        refusal = failure(503, "broker_stopped", "this broker was shut down before the answer was complete")
        for exchange in list(self.post.exchanges.values()):
            exchange.give_up(refusal)

    async def _alone(self) -> bool:
        try:
            return await self.store.replica.alone()
        except StoreUnavailable:
            return False

    def _send_publishers_away(self) -> None:
        for channel in list(self.post.channels.values()):
            channel.shut_down(retry_ms=200)

    def _application(self) -> web.Application:
        s = self.settings
        app = web.Application(middlewares=[guard(routes.roles(), routes.last_words())], client_max_size=s.max_result_bytes)
        app[STORE], app[POST], app[RELAY] = self.store, self.post, self.relay
        app[UPSTREAMS], app[VAULT] = self.upstreams, self.vault
        app[TOOLBOXES], app[TURNS], app[FOLLOWING] = self.toolboxes, self.turns, self.following
        app[METRICS] = self.metrics
        app[DRAINING] = []
        app[DOOR] = Door(
            self.store.tokens,
            may_open=s.auth == "auto" and is_loopback(s.host),
            allowed_hosts=frozenset(_names(s.allowed_hosts)),
            origins=frozenset(_names(s.cors_origins)),
        )
        app[LIMITS] = Limits(
            request_bytes=s.max_request_bytes, result_bytes=s.max_result_bytes, body_s=s.body_seconds,
            heartbeat_s=s.heartbeat_seconds, channel_ping_s=s.channel_ping_seconds,
            comment_first_s=s.comment_first_seconds, comment_every_s=s.comment_every_seconds,
            max_iterations=s.max_iterations,
            patience=Patience(
                deadline_s=s.deadline_seconds, queue_wait_s=s.queue_wait_seconds,
                idle_s=s.idle_seconds, buffer_bytes=s.client_buffer_bytes,
            ),
        )
        routes.add_to(app)
        return app

    async def _beat(self) -> None:
        if not await self.store.replica.beat():
            log.warning("this replica was taken for dead; its publishers and clients must come again")
            self.post.void()
        await self.post.look_for_lost(self.settings.replica_ttl_seconds)

    async def _sweep(self) -> None:
        if await self.store.replica.may_sweep():
            report = await self.store.replica.sweep()
            if report["markedInactive"] or report["deleted"]:
                log.info("swept", extra=report)


async def _every(seconds: float, duty: Callable[[], Awaitable[object]]) -> None:
    """A duty, over and over; an outage of Redis is waited out."""
    while True:
        try:
            await duty()
        except StoreUnavailable:
            log.debug("Redis is away")
        except Exception:
            # A duty that ends would end silently for all that comes later.
            log.exception("bug", extra={"duty": duty.__name__})
        await asyncio.sleep(seconds)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
