"""Which node to connect to, now: an Address becomes an Endpoint or a client.

``resolve`` answers for one key and one moment: the server itself, the primary
that the Sentinels name (and that calls itself one), or the Cluster's owner of
the key's slot. Ask again after a lost connection, ``MOVED`` or ``READONLY``;
nothing is remembered here. ``client`` is for cold paths (tokens, ``broker
check``). Neither may retry a command: a write that timed out may have happened.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError

from .address import CLUSTER, SENTINEL, SINGLE, Address, Node

#: Above what cold paths ever hold; these pools raise instead of waiting.
_CONNECTIONS = 1000


class NoEndpoint(ConnectionError):
    """No node serves the key just now; trying again later may find one."""


@dataclass(frozen=True)
class Endpoint:
    """One server to connect to: ``path``, or ``host`` and ``port``."""

    host: str = ""
    port: int = 0
    path: str | None = None
    ssl: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0

    def __str__(self) -> str:
        return self.path or str(Node(self.host, self.port))


async def resolve(address: Address, key: str | bytes, *, timeout_s: float = 2.0) -> Endpoint:
    """The node that serves ``key`` now, or NoEndpoint. ``timeout_s`` is per node asked."""
    if address.path:
        return _endpoint(address, path=address.path)
    if address.kind == SENTINEL:
        return await _sentinels_primary(address, timeout_s)
    if address.kind == CLUSTER:
        return await _slot_owner(address, key_slot(_bytes(key)), timeout_s)
    return _endpoint(address, host=address.nodes[0].host, port=address.nodes[0].port)


def client(address: Address, *, timeout_s: float = 5.0, connect_timeout_s: float = 3.0):
    """A redis-py client that follows failovers and never retries by itself."""
    options = _options(address, timeout_s, connect_timeout_s)
    if address.kind == SINGLE:
        target = {"path": address.path} if address.path else vars(address.nodes[0])
        pool = BlockingConnectionPool(
            max_connections=16,
            timeout=timeout_s,
            db=address.db,
            connection_class=_connection_class(address),
            **target,
            **options,
        )
        return Redis.from_pool(pool)
    options["max_connections"] = _CONNECTIONS
    if address.tls:
        options["ssl"] = True
    if address.kind == CLUSTER:
        for unsupported in ("ssl_ca_path", "ssl_password"):
            options.pop(unsupported, None)
        seeds = [ClusterNode(node.host, node.port) for node in address.nodes]
        return RedisCluster(startup_nodes=seeds, **options)
    ask = options | _sentinel_credentials(address)
    sentinels = Sentinel(
        [(node.host, node.port) for node in address.nodes], sentinel_kwargs=ask, **options
    )
    return sentinels.master_for(address.primary, redis_class=_PrimaryClient, db=address.db)


class _PrimaryClient(Redis):
    """Closes its Sentinels' connections with its own; redis-py leaves them open."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        await self.connection_pool.sentinel_manager.aclose()


async def _sentinels_primary(address: Address, timeout_s: float) -> Endpoint:
    """A Sentinel cut off from the others goes on naming the old primary, so the
    node is asked too, and the next Sentinel when it disagrees."""
    reasons = []
    for node in _shuffled(address.nodes):
        try:
            async with _asking(address, node, timeout_s, **_sentinel_credentials(address)) as ask:
                found = await ask.execute_command(
                    "SENTINEL GET-MASTER-ADDR-BY-NAME", address.primary
                )
            if not found:
                reasons.append(f"{node} knows no primary {address.primary!r}")
                continue
            primary = Node(_text(found[0]), int(found[1]))
            async with _asking(address, primary, timeout_s) as ask:
                role = _text((await ask.execute_command("ROLE"))[0])
            if role == "master":
                return _endpoint(address, host=primary.host, port=primary.port)
            reasons.append(f"{node} names {primary}, which is a {role}")
        except (RedisError, OSError) as error:
            reasons.append(f"{node}: {error}")
    raise NoEndpoint(f"no Sentinel names a primary: {'; '.join(reasons)}")


async def _slot_owner(address: Address, slot: int, timeout_s: float) -> Endpoint:
    reasons = []
    for node in _shuffled(address.nodes):
        try:
            async with _asking(address, node, timeout_s) as ask:
                ranges = await ask.execute_command("CLUSTER SLOTS")
            for first, last, primary, *_ in ranges:
                if first <= slot <= last:
                    host = _advertised_host(primary, asked=node.host)
                    return _endpoint(address, host=host, port=int(primary[1]))
            reasons.append(f"{node} knows no owner of slot {slot}")
        except (RedisError, OSError) as error:
            reasons.append(f"{node}: {error}")
    raise NoEndpoint(f"no Cluster node answers for slot {slot}: {'; '.join(reasons)}")


def _advertised_host(node: list, asked: str) -> str:
    """Cluster nodes may not know their own name: '' and null mean "the host you
    asked", '?' means a host name that is not set, with the IP in the metadata."""
    host = _text(node[0] or b"")
    if host == "?" and len(node) > 3:
        metadata = [_text(item) for item in node[3]]
        host = dict(zip(metadata[::2], metadata[1::2], strict=False)).get("ip", "")
    return asked if host in ("", "?") else host


@asynccontextmanager
async def _asking(
    address: Address, node: Node, timeout_s: float, **credentials
) -> AsyncIterator[Redis]:
    """One connection for one question; the answers come raw, without callbacks."""
    options = _options(address, timeout_s, timeout_s) | credentials
    pool = BlockingConnectionPool(
        max_connections=1,
        connection_class=_connection_class(address),
        host=node.host,
        port=node.port,
        **options,
    )
    asking = Redis.from_pool(pool)
    asking.response_callbacks.clear()
    try:
        yield asking
    finally:
        await asking.aclose()


def _options(address: Address, timeout_s: float, connect_timeout_s: float) -> dict:
    return {
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "decode_responses": False,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        **(address.tls.options() if address.tls else {}),
    }


def _sentinel_credentials(address: Address) -> dict:
    return {"username": address.sentinel_username, "password": address.sentinel_password}


def _connection_class(address: Address) -> type:
    if address.path:
        return UnixDomainSocketConnection
    return SSLConnection if address.tls else Connection


def _endpoint(address: Address, **where) -> Endpoint:
    return Endpoint(
        **where,
        ssl=address.tls.context() if address.tls else None,
        username=address.username,
        password=address.password,
        db=address.db,
    )


def _shuffled(nodes: tuple[Node, ...]) -> list[Node]:
    """So that asking again after a stale answer asks somebody else."""
    return random.sample(nodes, len(nodes))


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
