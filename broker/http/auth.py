"""The door: who calls, and whether they may.

On loopback the broker is open until the first token is made; then, and on any
wider address, every call but the health checks needs one. A token is read from
``Authorization: Bearer`` or, as Anthropic's clients send it, ``x-api-key``; from
nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache

from broker.errors import Forbidden, Unauthorized
from broker.store.tokens import ROLES, Principal, Tokens

#: Who everybody is while the broker is open.
LOCAL = Principal("local", frozenset(ROLES))


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def credential(headers: Mapping[str, str]) -> str:
    """What a request says of its caller, as an ``Authorization`` header says it."""
    key = headers.get("x-api-key", "")
    return headers.get("Authorization", "") or (f"Bearer {key}" if key else "")


class Door:
    """``may_open``: the broker listens on loopback only and nobody asked for tokens."""

    def __init__(self, tokens: Tokens, *, may_open: bool, allowed_hosts: frozenset[str], origins: frozenset[str]):
        self._tokens = tokens
        self._may_open = may_open
        self._hosts = allowed_hosts
        self.origins = origins

    async def admit(self, authorization: str, host: str, origin: str, role: str) -> Principal:
        """The caller. ``role`` '' asks for any token. Raises Unauthorized, Forbidden."""
        if self._may_open and not await self._tokens.exist():
            self._refuse_strangers(host, origin)
            return LOCAL
        scheme, _, token = authorization.partition(" ")
        principal = await self._tokens.find(token.strip()) if scheme.lower() == "bearer" and token else None
        if principal is None:
            raise Unauthorized()
        if role and not principal.may(role):
            raise Forbidden(f"This needs a token with the role {role!r}; this one has: {', '.join(sorted(principal.roles))}.")
        return principal

    def _refuse_strangers(self, host: str, origin: str) -> None:
        """While open, a web page elsewhere must not reach us through its visitor's browser."""
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if not (is_loopback(name) or name.lower() in self._hosts):
            raise Forbidden(f"This broker is open to this machine only; Host {name!r} is not allowed (BROKER_ALLOWED_HOSTS).")
        if origin and origin not in self.origins and "*" not in self.origins:
            address = origin.partition("://")[2]
            if not is_loopback(address.rsplit(":", 1)[0] if not address.endswith("]") else address):
                raise Forbidden(f"Pages of {origin!r} may not call this broker (BROKER_CORS_ORIGINS).")
