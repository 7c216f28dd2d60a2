"""Tokens: who may call, and for which owner.

A token is 256 random bits, shown once and kept as its SHA-256 only. Lookups are
remembered for a few seconds, which bounds how long a revoked token still works.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from redis.exceptions import RedisError

from broker.errors import StoreUnavailable

from . import keys

ROLES = ("client", "publisher", "admin")
_REMEMBER_S = 3.0
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: an owner, with roles. ``token`` is the id of the token, '' when open; ``may_wake``: whether its
    requests wake an LLM that sleeps."""

    owner: str
    roles: frozenset[str]
    token: str = ""
    may_wake: bool = True

    def may(self, role: str) -> bool:
        return role in self.roles or "admin" in self.roles


class Tokens:
    """``redis`` is a redis-py client: tokens lie outside the namespace's slot."""

    def __init__(self, redis, namespace: str):
        self._redis = redis
        self._namespace = namespace
        self._index = keys.tokens(namespace)
        self._known: dict[str, tuple[float, Principal | None]] = {}
        self._any: tuple[float, bool] = (0.0, False)

    async def find(self, token: str) -> Principal | None:
        """Whose token this is; None for one that is unknown, revoked, expired or another namespace's."""
        # A header holds whatever bytes were sent; those that are no UTF-8 are nobody's token.
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        now = time.monotonic()
        known = self._known.get(digest)
        if known and known[0] > now:
            return known[1]
        principal = await self._read(digest)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[digest] = (now + _REMEMBER_S, principal)
        return principal

    async def exist(self) -> bool:
        """Whether any token was ever made; revoking the last one does not open the broker again."""
        now = time.monotonic()
        if self._any[0] <= now:
            self._any = (now + _REMEMBER_S, bool(await self._ask(self._redis.exists(self._index))))
        return self._any[1]

    async def create(
        self, *, name: str, roles: list[str], owner: str, expires_s: int | None = None, may_wake: bool = True
    ) -> tuple[str, str]:
        """A new token: (id, the token itself, which is not kept)."""
        token = f"rv_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        row = {
            "id": digest[:12], "name": name, "roles": ",".join(roles), "owner": owner,
            "namespace": self._namespace, "createdAt": str(int(time.time() * 1000)),
        }
        if not may_wake:
            row["mayWake"] = "0"
        if expires_s:
            row["expiresAt"] = str(int((time.time() + expires_s) * 1000))
        await self._ask(self._redis.hset(keys.token(digest), mapping=row))
        if expires_s:
            await self._ask(self._redis.expire(keys.token(digest), expires_s))
        await self._ask(self._redis.sadd(self._index, digest))
        return digest[:12], token

    async def list(self) -> list[dict[str, str]]:
        rows = []
        for digest in await self._ask(self._redis.smembers(self._index)):
            row = await self._ask(self._redis.hgetall(keys.token(digest.decode())))
            if row:
                rows.append({key.decode(): value.decode() for key, value in row.items()})
        return sorted(rows, key=lambda row: int(row["createdAt"]))

    async def revoke(self, token_id: str) -> bool:
        """Ends a token by its id. False: there is none."""
        for digest in await self._ask(self._redis.smembers(self._index)):
            if digest.decode()[:12] == token_id:
                return bool(await self._ask(self._redis.delete(keys.token(digest.decode()))))
        return False

    async def _read(self, digest: str) -> Principal | None:
        row = await self._ask(self._redis.hgetall(keys.token(digest)))
        if not row or row[b"namespace"].decode() != self._namespace:
            return None
        if b"expiresAt" in row and int(row[b"expiresAt"]) <= time.time() * 1000:
            return None
        return Principal(
            row[b"owner"].decode(), frozenset(row[b"roles"].decode().split(",")), row[b"id"].decode(),
            may_wake=row.get(b"mayWake") != b"0",
        )

    @staticmethod
    async def _ask(command):
        try:
            return await command
        except (RedisError, OSError) as error:
            raise StoreUnavailable() from error
