"""The floor: the only room that knows Redis. Its methods are phrases of the domain.

``Store`` opens the connections and holds the parts. It decides nothing itself:
decisions are the scripts in ``lua/``.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from . import keys
from .address import Address
from .agents import Agents
from .batches import Batches
from .endpoint import client, resolve
from .claims import Claims
from .files import Files
from .hooks import Hooks
from .jobs import JobLimits, Jobs
from .kept import Kept
from .library import Library
from .link import Link
from .personalities import Personalities
from .pool_rows import PoolRows
from .pools import Pools
from .projects import Projects
from .prompts import Prompts
from .replica import Replica
from .responses import Responses
from .rows import Rows
from .scripts import Caller, Scripts
from .secrets import Secrets
from .sessions import Sessions
from .tasks import Tasks
from .threads import Threads
from .tokens import Tokens
from .tool_servers import ToolServers
from .turn_events import TurnEvents
from .turns import Turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """Times that scripts decide by, in milliseconds."""

    stale_ms: int = 90_000
    expire_ms: int = 14_400_000
    sweep_ms: int = 60_000
    settle_ms: int = 30_000
    accept_ms: int = 10_000
    grace_ms: int = 5_000
    lease_grace_ms: int = 5_000
    wake_limit_ms: int = 600_000
    replica_ttl_ms: int = 5_000
    turn_events_ms: int = 900_000


class Store:
    """All that the broker keeps in one namespace, through five connections' worth of Redis: ``link`` for scripts,
    ``blocking`` for the one blocking read, ``following`` for that of kept replies, ``listening`` for that of turns'
    events (both made when one is first followed), ``redis`` for cold paths."""

    def __init__(
        self, link: Caller, blocking: Caller, following: Caller, listening: Caller, redis, *, namespace: str, timers: Timers,
        adoption: str = "owner", queue_length: int = 1000, queue_bytes: int = 64 << 20, shebang: bool = True,
        jobs: JobLimits | None = None,
    ):
        prefix = keys.prefix(namespace)
        self.redis = redis
        self._links = (link, blocking, following, listening)
        scripts = self._scripts = Scripts(link, prefix, shebang=shebang)
        t = timers
        name = uuid.uuid4().hex[:16]
        self.rows = Rows(link, scripts, prefix, stale_ms=t.stale_ms, expire_ms=t.expire_ms)
        self.agents = Agents(self.rows, scripts, stale_ms=t.stale_ms, expire_ms=t.expire_ms)
        self.sessions = Sessions(
            scripts, adoption=adoption, accept_ms=t.accept_ms, grace_ms=t.grace_ms,
            stale_ms=t.stale_ms, expire_ms=t.expire_ms, wake_limit_ms=t.wake_limit_ms,
        )
        self.tasks = Tasks(
            scripts, name, accept_ms=t.accept_ms, stale_ms=t.stale_ms, expire_ms=t.expire_ms,
            lease_grace_ms=t.lease_grace_ms, wake_limit_ms=t.wake_limit_ms,
            queue_length=queue_length, queue_bytes=queue_bytes,
        )
        self.pools = Pools(
            scripts, name, accept_ms=t.accept_ms, stale_ms=t.stale_ms, expire_ms=t.expire_ms,
            lease_grace_ms=t.lease_grace_ms, wake_limit_ms=t.wake_limit_ms,
            queue_length=queue_length, queue_bytes=queue_bytes,
        )
        self.pool_rows = PoolRows(link, scripts, prefix, accept_ms=t.accept_ms)
        self.replica = Replica(
            link, blocking, scripts, prefix, name, ttl_ms=t.replica_ttl_ms, accept_ms=t.accept_ms,
            grace_ms=t.grace_ms, stale_ms=t.stale_ms, expire_ms=t.expire_ms, settle_ms=t.settle_ms, sweep_ms=t.sweep_ms,
        )
        self.kept = Kept(link, following, scripts, prefix, name)
        self.jobs = Jobs(link, scripts, prefix, jobs or JobLimits(), accept_ms=t.accept_ms)
        self.claims = Claims(
            link, scripts, prefix, name, jobs or JobLimits(), accept_ms=t.accept_ms, stale_ms=t.stale_ms,
            expire_ms=t.expire_ms, lease_grace_ms=t.lease_grace_ms, wake_limit_ms=t.wake_limit_ms,
        )
        self.hooks = Hooks(scripts)
        self.batches = Batches(link, scripts, prefix, lease_ms=3 * t.replica_ttl_ms)
        self.files = Files(link, scripts, prefix)
        self.responses = Responses(link, scripts, prefix)
        self.secrets = Secrets(scripts)
        library = Library(link, scripts, prefix, stale_ms=t.stale_ms, expire_ms=t.expire_ms)
        self.projects = Projects(library, scripts)
        self.personalities = Personalities(library, scripts)
        self.prompts = Prompts(library, scripts, stale_ms=t.stale_ms, expire_ms=t.expire_ms)
        self.tool_servers = ToolServers(self.rows, scripts, stale_ms=t.stale_ms, expire_ms=t.expire_ms)
        self.threads = Threads(link, scripts, prefix, stale_ms=t.stale_ms, expire_ms=t.expire_ms)
        self.turns = Turns(scripts, name, keep_ms=t.turn_events_ms, stale_ms=t.stale_ms, expire_ms=t.expire_ms)
        self.turn_events = TurnEvents(link, listening, prefix)
        self.tokens = Tokens(redis, namespace)

    @classmethod
    def open(cls, address: Address, *, namespace: str, timers: Timers, **limits) -> Store:
        """A store on real servers; connections are made when they are first needed."""

        async def find():
            return await resolve(address, keys.prefix(namespace))

        blocking, following, listening = (Link(find, timeout_s=10.0) for _ in range(3))
        return cls(Link(find), blocking, following, listening, client(address), namespace=namespace, timers=timers, **limits)

    async def warm_up(self) -> None:
        """Makes the first request as quick as the next. Raises StoreUnavailable."""
        await self._scripts.load()

    async def ping(self) -> None:
        """Raises StoreUnavailable when Redis does not answer."""
        await self._links[0].call("PING")

    async def close(self) -> None:
        await asyncio.gather(*(link.close() for link in self._links))
        await self.redis.aclose()
