"""Where a test's keys are: fakeredis, one real server, a Cluster. Each place is a namespace
of its own, so tests share servers and still cannot meet.
"""

from __future__ import annotations

import asyncio
import re
import uuid

import fakeredis
import hiredis
from redis.exceptions import NoScriptError, RedisError

from broker.errors import StoreUnavailable
from broker.open_store import job_limits, open_store, timers
from broker.settings import Settings
from broker.store import Store
from broker.store.address import parse
from broker.store.endpoint import client
from broker.store.link import ScriptMissing

#: Families that may stay without a TTL while rows exist (broker/store/keys.py).
_LASTING = re.compile(
    rb"(thread|thread-messages|thread-errors|threads-of):|"
    rb"(project|personality|prompt|project-agents|personality-agents|prompt-names|prompt-personalities|secret-projects):|"
    rb"projects$|personalities$|prompts$|project-ids$|personality-ids$|sessions$|"
    rb"(llm|pool|pools-of|agent|secret|secret-llms|session|session-rows|session-tasks|llm-agents|model-llms|alias|load|expiring):|llms$|agents$|pools$|llm-ids$|agent-ids$|"
    rb"(job|jobs-of|queue|queue-tags):|jobs-queued$|job-timers$|queues$|hooks$|"
    rb"heartbeats$|secrets$|timers$|replicas$|pulse$|events$|arrivals$"
)


class Place:
    """``url`` for processes; ``open_store`` for brokers inside the test."""

    url = ""

    def __init__(self) -> None:
        self.namespace = f"t{uuid.uuid4().hex[:12]}"

    def settings(self, **given) -> Settings:
        return Settings(namespace=self.namespace, redis_url=self.url, **given)

    def open_store(self, settings: Settings) -> Store:
        return open_store(settings, parse(self.url))

    def redis(self):
        """A plain client, for looking at the keys."""
        return client(parse(self.url))

    async def keys(self) -> list[bytes]:
        """The namespace's keys, without their prefix."""
        prefix = b"rv:{%s}:" % self.namespace.encode()
        redis = self.redis()
        try:
            return sorted([key.removeprefix(prefix) async for key in redis.scan_iter(prefix + b"*", count=10_000)])
        finally:
            await redis.aclose()

    async def read(self, key: str) -> object:
        """A key's whole content, whatever its type."""
        full = f"rv:{{{self.namespace}}}:{key}"
        redis = self.redis()
        try:
            kind = (await redis.type(full)).decode()
            readers = {
                "string": lambda: redis.get(full), "hash": lambda: redis.hgetall(full),
                "set": lambda: redis.smembers(full), "zset": lambda: redis.zrange(full, 0, -1, withscores=True),
                "stream": lambda: redis.xrange(full), "none": _nothing,
            }
            return await readers[kind]()
        finally:
            await redis.aclose()

    async def ttl_ms(self, key: str) -> int:
        redis = self.redis()
        try:
            return await redis.pttl(f"rv:{{{self.namespace}}}:{key}")
        finally:
            await redis.aclose()

    async def lose(self, *keys: str) -> None:
        """Deletes keys, as an older copy of the data would lack them."""
        redis = self.redis()
        try:
            for key in keys:
                await redis.delete(f"rv:{{{self.namespace}}}:{key}")
        finally:
            await redis.aclose()

    async def check_left_clean(self) -> None:
        """No task, lease, waiter or wake is left, and every other key lasts on purpose or has a TTL."""
        prefix = b"rv:{%s}:" % self.namespace.encode()
        redis = self.redis()
        try:
            passing = [key for key in await self.keys() if not _LASTING.match(key)]
            async with redis.pipeline(transaction=False) as asking:
                for key in passing:
                    asking.ttl(prefix + key)
                ttls = await asking.execute()
            for key, ttl in zip(passing, ttls, strict=True):
                assert ttl >= 0 or ttl == -2, f"{key!r} is left without a TTL: {await self.read(key.decode())}"
            due = await redis.zrange(prefix + b"timers", 0, -1)
            assert not [name for name in due if not name.startswith((b"grace:", b"probe:"))], f"left in timers: {due}"
        finally:
            await redis.aclose()

    async def end(self) -> None:
        """Checks what is left, and removes it: the next test's keys are looked for among all that there are."""
        await self.check_left_clean()
        redis = self.redis()
        try:
            if keys := await self.keys():
                prefix = b"rv:{%s}:" % self.namespace.encode()
                await redis.unlink(*(prefix + key for key in keys))
        finally:
            await redis.aclose()


async def _nothing() -> None:
    return None


class FakePlace(Place):
    def __init__(self) -> None:
        super().__init__()
        self._server = fakeredis.FakeServer(version=(7,))

    def open_store(self, settings: Settings) -> Store:
        return Store(
            *(FakeLink(self._server) for _ in range(4)), self.redis(), namespace=settings.namespace,
            timers=timers(settings), adoption=settings.adoption, queue_length=settings.queue_length,
            queue_bytes=settings.queue_bytes, shebang=False, jobs=job_limits(settings),
        )

    def redis(self):
        return fakeredis.FakeAsyncRedis(server=self._server, version=(7,), protocol=2)


class ServerPlace(Place):
    def __init__(self, server) -> None:
        super().__init__()
        self.server = server
        self.url = server.url


class ClusterPlace(Place):
    def __init__(self, cluster) -> None:
        super().__init__()
        self.cluster = cluster
        self.url = cluster.url


class FakeLink:
    """fakeredis in the place of a Link: the same commands, answers in the same shapes."""

    def __init__(self, server: fakeredis.FakeServer) -> None:
        self._redis = fakeredis.FakeAsyncRedis(server=server, version=(7,), protocol=2)
        self._redis.response_callbacks.clear()
        self._closed = False
        self._loading = asyncio.Lock()

    async def call(self, *command) -> object:
        if command[0] == "SCRIPT":
            # fakeredis opens a connection for each that waits; a hundred of them would cost more than most tests do.
            async with self._loading:
                return await self._answer(*command)
        return await self._answer(*command)

    async def _answer(self, *command) -> object:
        if self._closed:
            raise StoreUnavailable("the broker is shutting down")
        try:
            # fakeredis may swallow a cancellation that comes while it connects; whoever waits does not.
            asking = asyncio.ensure_future(self._redis.execute_command(*command))
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
            try:
                return await asyncio.shield(asking)
            except asyncio.CancelledError:
                asking.cancel()
                raise
        except NoScriptError as error:
            raise ScriptMissing(str(error)) from error
        except RedisError as error:
            raise ValueError(f"Redis answered: {error}") from hiredis.ReplyError(str(error))

    async def close(self) -> None:
        self._closed = True
        await self._redis.aclose()
