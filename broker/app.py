"""Builds one replica from settings, in order, and takes it down in the opposite one.

Nobody imports this but the commands. The only place that starts background
duties: the post, the sign of life, what falls due, the sweep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from broker.batches.run import Run
from broker.batches.runner import Runner
from broker.chat.attempts import Attempts
from broker.chat.following import Following
from broker.chat.turns import Turns
from broker.duty import every
from broker.errors import StoreUnavailable
from broker.folder import Folder
from broker.http import routes
from broker.http.auth import Door, is_loopback
from broker.http.context import (
    BATCHES, DOOR, DRAINING, DURABLE, FOLDER, FOLLOWING, HOOKS, LIMITS, METRICS, POST, RELAY, STORE, TOOLBOXES, TURNS,
    UPSTREAMS, VAULT, Keeping, Limits,
)
from broker.http.middleware import guard
from broker.metrics import Metrics
from broker.relay.durable import Durable
from broker.relay.exchange import Patience
from broker.relay.parts import failure
from broker.relay.post import Post
from broker.relay.relay import Relay
from broker.relay.webhooks import Webhooks
from broker.settings import Settings
from broker.store import Store
from broker.store.batches import Batch
from broker.tools.http_server import HttpServers
from broker.tools.publisher_server import PublisherServers
from broker.tools.toolbox import Toolboxes
from broker.upstream.caller import Upstreams
from broker.upstream.guard import Guard
from broker.upstream.hooks import Hooks
from broker.vault import Vault

log = logging.getLogger(__name__)

#: How often files that nobody knows are looked for, and how old they are at least.
_CLEAR_S, _YOUNG_S = 3600, 86_400
#: How long a batch of which no line ends keeps its place at a replica, when others wait for one.
_QUIET_S = 60.0
#: How long turns that a shutdown ends may take to tell Redis so.
_LAST_WORDS_S = 2.0


class Broker:
    """One replica: its HTTP application and its duties. ``store`` is opened and closed by the caller.
    ``key_file``: where the key of secrets is, or is made, when the settings name none; ``files_dir``: likewise the
    folder for files. Raises BadKey."""

    def __init__(self, settings: Settings, store: Store, *, key_file: Path | None = None, files_dir: Path | None = None):
        self.settings = settings
        self.store = store
        self.metrics = Metrics()
        self.post = Post(store)
        self.vault = Vault(settings.namespace, settings.secret_key, key_file)
        place = Path(settings.files_dir) if settings.files_dir else files_dir
        # Each namespace clears up in its own.
        self.folder = Folder(place / f"ns-{settings.namespace}" if place else None)
        self.upstreams = Upstreams(Guard(settings.upstream_allow), self.vault, at_once=settings.upstream_requests)
        self.relay = Relay(store, self.post, self.upstreams, inline_bytes=settings.inline_request_bytes)
        self.hooks = Hooks(Guard(settings.webhook_allow, setting="BROKER_WEBHOOK_ALLOW"))
        webhooks = Webhooks(store.hooks, self.hooks, self.vault.open, retry_s=settings.webhook_retry_seconds)
        self.toolboxes = Toolboxes(
            HttpServers(self.upstreams.guard, store.secrets, self.vault), PublisherServers(self.relay),
            seconds=settings.tool_seconds, result_bytes=settings.tool_result_bytes,
        )
        self.attempts = Attempts(
            self.relay, self.post, self.toolboxes, max_iterations=settings.max_iterations, answer_bytes=settings.max_result_bytes
        )
        self.durable = Durable(
            store, self.relay, self.post, self.attempts, webhooks, self._patience(), poll_s=settings.job_poll_seconds
        )
        self.batches = Runner(store, self._run_of, poll_s=settings.job_poll_seconds, patience_s=_QUIET_S)
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
            asyncio.create_task(every(s.replica_ttl_seconds / 3, self._beat)),
            asyncio.create_task(self.following.run()),
            asyncio.create_task(every(s.tick_seconds, self.store.replica.reap)),
            asyncio.create_task(every(s.tick_seconds, self.turns.look)),
            asyncio.create_task(every(min(s.sweep_seconds, 5), self._sweep)),
            asyncio.create_task(every(_CLEAR_S, self._clear_folder)),
            asyncio.create_task(self.durable.run()),
            asyncio.create_task(self.batches.run()),
        ]
        try:
            yield
        finally:
            await self.turns.close(0)
            await self.attempts.close()
            await self.toolboxes.close()
            await self.upstreams.close()
            await self.post.finish(2)
            await self.relay.following.close()
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            await self.hooks.close()
            try:
                await self.store.replica.leave()
            except StoreUnavailable:
                log.warning("Redis is away; the other replicas will clean up after this one")

    async def drain(self, within_s: float) -> None:
        """Stops taking requests and lets the running ones end. Publishers are sent elsewhere at once
        if there is an elsewhere; else they stay till the end, for what runs needs them."""
        self.app[DRAINING].append(True)
        self.durable.stop()
        if not await self._alone():
            self._send_publishers_away()
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while (self.post.exchanges or self.relay.following.running or self.turns.running) and loop.time() < until:
            await asyncio.sleep(0.05)
        await self.turns.close(_LAST_WORDS_S)
        self.following.close()
        self._send_publishers_away()
        refusal = failure(503, "broker_stopped", "this broker was shut down before the answer was complete")
        for exchange in list(self.post.exchanges.values()):
            exchange.give_up(refusal)
        self.relay.following.give_up(refusal)
        self.durable.give_up()

    async def _alone(self) -> bool:
        try:
            return await self.store.replica.alone()
        except StoreUnavailable:
            return False

    def _send_publishers_away(self) -> None:
        for channel in list(self.post.channels.values()):
            channel.shut_down(retry_ms=200)

    def _patience(self) -> Patience:
        s = self.settings
        return Patience(
            deadline_s=s.deadline_seconds, queue_wait_s=s.queue_wait_seconds, idle_s=s.idle_seconds,
            buffer_bytes=s.client_buffer_bytes,
        )

    def _application(self) -> web.Application:
        s = self.settings
        app = web.Application(middlewares=[guard(routes.roles(), routes.last_words())], client_max_size=s.max_result_bytes)
        app[STORE], app[POST], app[RELAY] = self.store, self.post, self.relay
        app[UPSTREAMS], app[VAULT] = self.upstreams, self.vault
        app[TOOLBOXES], app[TURNS], app[FOLLOWING] = self.toolboxes, self.turns, self.following
        app[DURABLE], app[HOOKS] = self.durable, self.hooks
        app[FOLDER], app[BATCHES] = self.folder, self.batches
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
            response_s=s.response_seconds, file_s=s.file_seconds, file_bytes=s.file_bytes,
            comment_first_s=s.comment_first_seconds, comment_every_s=s.comment_every_seconds,
            patience=self._patience(), job_bytes=s.job_request_bytes, max_iterations=s.max_iterations,
            pool_first_byte_s=s.pool_first_byte_seconds,
            keeping=Keeping(
                resume_s=s.resume_seconds, idempotency_s=s.idempotency_seconds, always=s.resumable == "always"
            ),
        )
        routes.add_to(app)
        return app

    def _run_of(self, batch: Batch) -> Run:
        s = self.settings
        return Run(
            batch, self.store, self.folder, made=self.durable.made, ahead=s.batch_ahead, line_bytes=s.job_request_bytes,
            poll_s=s.job_poll_seconds / 2, ttl_ms=int(s.file_seconds * 1000),
        )

    async def _clear_folder(self) -> None:
        async def known(names: list[str]) -> set[str]:
            running = [name.partition(".")[0] for name in names if name.startswith("batch_")]
            unfinished = await self.store.batches.unfinished(running)
            return await self.store.files.known(names) | {name for name in names if name.partition(".")[0] in unfinished}

        if deleted := await self.folder.clear(known, older_than_s=_YOUNG_S):
            log.info("cleared", extra={"files": deleted})

    async def _beat(self) -> None:
        if not await self.store.replica.beat():
            log.warning("this replica was taken for dead; its publishers and clients must come again")
            self.post.void()
            self.relay.following.void()
        await self.post.look_for_lost(self.settings.replica_ttl_seconds)

    async def _sweep(self) -> None:
        if await self.store.replica.may_sweep():
            report = await self.store.replica.sweep()
            if report["markedInactive"] or report["deleted"]:
                log.info("swept", extra=report)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
