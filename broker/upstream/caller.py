"""Calls upstreams: one HTTP request for each call, its answer to the call's exchange.

It never retries and follows no redirect, which would carry the key elsewhere. It is
stopped by cancelling the task that ``start`` gives: that closes the connection, and
with it the upstream's work. Keys and addresses beyond the host are in no message.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re

import aiohttp

from broker.errors import Refusal
from broker.model import Target
from broker.relay.call import Call, Words
from broker.relay.exchange import Exchange
from broker.relay.parts import failure
from broker.vault import Vault

from .guard import ForbiddenAddress, Guard, GuardedResolver
from .languages import Question, question, understands
from .reading import hand_over, is_endless

log = logging.getLogger(__name__)

CONNECT_S = 10.0
#: A larger body in one piece would hold up everybody else while it is copied to the socket.
_LARGE_BYTES = 1 << 20


class Upstreams:
    """``at_once``: most calls of this replica at one time."""

    def __init__(self, guard: Guard, vault: Vault, *, at_once: int):
        self.guard = guard
        self._vault = vault
        self._at_once = at_once
        self._calls: set[asyncio.Task] = set()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    @property
    def room(self) -> int:
        """How many calls more there may be now."""
        return max(0, self._at_once - len(self._calls))

    def understand(self, target: Target, words: Words) -> bool:
        """Whether that LLM is asked in the caller's own language."""
        return understands(target, words)

    def start(self, exchange: Exchange, call: Call, target: Target) -> asyncio.Task | None:
        """Begins a call; None: there are too many. Whatever becomes of it ends the exchange, unless it is cancelled."""
        if len(self._calls) >= self._at_once:
            full = f"This broker makes {self._at_once:,} calls to upstreams already; try again shortly."
            exchange.put(failure(429, "queue_full", full))
            return None
        task = asyncio.create_task(self._answer(exchange, call, target))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def close(self) -> None:
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        self._sessions.clear()

    async def _answer(self, exchange: Exchange, call: Call, target: Target) -> None:
        try:
            key = self._vault.open(target.secret, target.sealed, target.key) if target.secret else ""
            asked = question(target, call, key)
            if isinstance(asked, Question):
                await self._ask(asked, exchange, call, key)
            else:
                await hand_over(asked, exchange, streaming=False, endless=False, key="")
        except Refusal as refusal:
            exchange.put(failure(refusal.status, refusal.code, refusal.message))
        except Exception:
            log.exception("bug", extra={"llm": target.llm})
            exchange.put(failure(500, "internal_error", "The broker made a mistake; its log says more."))

    async def _ask(self, asked: Question, exchange: Exchange, call: Call, key: str) -> None:
        host = asked.url.host or ""
        body = io.BytesIO(asked.body) if len(asked.body) > _LARGE_BYTES else asked.body
        try:
            answer = await self._session(host).post(asked.url, data=body, headers=asked.headers, allow_redirects=False)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            exchange.put(_unanswered(host, error))
            return
        try:
            await hand_over(
                asked.heard(answer), exchange, streaming=call.streaming, endless=is_endless(answer), key=key
            )
        finally:
            answer.close()  # after a complete body this does nothing: the connection is back in its pool

    def _session(self, host: str) -> aiohttp.ClientSession:
        """One for hosts that the setting names, which may lead anywhere, and one for all others."""
        trusted = self.guard.trusts(host)
        if trusted not in self._sessions:
            guards = {} if trusted else {"resolver": GuardedResolver(self.guard), "socket_factory": self.guard.open_socket}
            self._sessions[trusted] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, **guards), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            )
        return self._sessions[trusted]


def _unanswered(host: str, error: Exception) -> bytes:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ForbiddenAddress):
        # Callers need not learn where inside the name leads; the operator must.
        log.warning("upstream refused", extra={"host": host, "why": str(cause)})
        return failure(502, "upstream_forbidden", f"the upstream at {host} was not called: it is at an internal address")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return failure(502, "upstream_unreachable", f"the upstream at {host} could not be reached ({_why(error)})")
    if isinstance(error, ValueError):
        # The HTTP client repeats the address, or a header.
        return failure(502, "upstream_unreachable", f"the upstream at {host} cannot be called: check the row's url and key")
    return failure(502, "backend_error", f"the upstream at {host} gave no proper answer ({_why(error)})")


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        system = error.os_error
        known = isinstance(system.errno, int) and system.errno > 0
        return os.strerror(system.errno) if known else system.strerror or type(system).__name__
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return re.sub(r"\s+", " ", text or type(error).__name__)[:200]
