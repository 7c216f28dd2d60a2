"""One lean connection to the node that owns our slot.

While an answer is awaited, the commands of one turn of the event loop leave in
one write, and answers are handed out in order: that is all the pipelining there is, and it needs no
timeout object per command (redis-py's cost more than the commands). It never
sends a command twice: a write whose answer was lost may have happened.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

import hiredis

from broker.errors import StoreUnavailable

from .endpoint import Endpoint

#: Replies that say "ask another node", or "not this connection any more".
_MOVED_AWAY = ("MOVED", "ASK", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN")
#: Replies that say "not now"; the others are our own mistakes.
_NOT_NOW = ("OOM", "LOADING", "MISCONF", "NOREPLICAS", "BUSY", "NOAUTH", "WRONGPASS", "NOPERM", "UNKILLABLE")


class ScriptMissing(Exception):
    """The server does not know the script: it was restarted, or it is another one."""


class Link:
    """A connection that is made when needed and made again when lost.

    ``find`` answers the Endpoint to use now. ``timeout_s`` bounds the wait for
    the oldest answer (``None``: no bound, for blocking reads).
    """

    def __init__(self, find: Callable[[], Awaitable[Endpoint]], *, timeout_s: float | None = 5.0):
        self._find = find
        self._timeout_s = timeout_s
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task | None = None
        self._not_before = 0.0
        self._closed = False

    async def call(self, *command) -> object:
        """The answer to one command. Raises StoreUnavailable, ScriptMissing or ValueError."""
        wire = self._wire
        if wire is None or wire.lost:
            wire = await self._connect()
        answer = await wire.send(hiredis.pack_command(command))
        if isinstance(answer, hiredis.ReplyError):
            self._refuse(wire, str(answer))
        return answer

    async def close(self) -> None:
        self._closed = True
        if self._connecting:
            self._connecting.cancel()
        if self._wire:
            self._wire.close("closing")

    def drop(self) -> None:
        """Lets go of the connection; the next call makes another."""
        if self._wire:
            self._wire.close("dropped")

    def _refuse(self, wire: _Wire, text: str) -> None:
        word = text.split(" ", 1)[0]
        if word == "NOSCRIPT":
            raise ScriptMissing(text)
        if word in _MOVED_AWAY:
            wire.close(text)
            raise StoreUnavailable(f"Redis moved ({word}); try again shortly")
        if word in _NOT_NOW or "OOM" in text or "MISCONF" in text or "READONLY" in text:
            raise StoreUnavailable(f"Redis refuses work right now ({_reason(text)}); try again shortly")
        raise ValueError(f"Redis answered: {text}")

    async def _connect(self) -> _Wire:
        if self._closed:
            raise StoreUnavailable("the broker is shutting down")
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open())
        # Shielded: many calls wait for one connection, and any of them may be cancelled.
        return await asyncio.shield(self._connecting)

    async def _open(self) -> _Wire:
        try:
            wait_s = self._not_before - time.monotonic()
            if wait_s > 0:
                raise StoreUnavailable()
            try:
                async with asyncio.timeout(5):
                    endpoint = await self._find()
                    self._wire = await _Wire.open(endpoint, self._timeout_s)
            except (OSError, TimeoutError, hiredis.ReplyError) as error:
                # Callers fail at once for a moment instead of queueing up behind a dead server.
                self._not_before = time.monotonic() + 0.1
                raise StoreUnavailable() from error
            return self._wire
        finally:
            self._connecting = None


def _reason(text: str) -> str:
    for word in (*_NOT_NOW, *_MOVED_AWAY):
        if word in text:
            return word
    return text.split(" ", 1)[0]


class _Wire(asyncio.Protocol):
    """One socket: writes gathered per turn of the loop, answers in order."""

    def __init__(self, timeout_s: float | None):
        self.lost = False
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future] = deque()
        self._outgoing: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._answered_at = 0.0

    @classmethod
    async def open(cls, endpoint: Endpoint, timeout_s: float | None) -> _Wire:
        wire = cls(timeout_s)
        if endpoint.path:
            await wire._loop.create_unix_connection(lambda: wire, endpoint.path)
        else:
            await wire._loop.create_connection(
                lambda: wire, endpoint.host, endpoint.port, ssl=endpoint.ssl,
                server_hostname=endpoint.host if endpoint.ssl else None,
            )
        hello = []
        if endpoint.password is not None:
            who = (endpoint.username, endpoint.password) if endpoint.username else (endpoint.password,)
            hello.append(wire.send(hiredis.pack_command(("AUTH", *who))))
        if endpoint.db:
            hello.append(wire.send(hiredis.pack_command(("SELECT", endpoint.db))))
        for answer in await asyncio.gather(*hello):
            if isinstance(answer, hiredis.ReplyError):
                wire.close(str(answer))
                raise StoreUnavailable(f"Redis refused the login ({str(answer).split(' ', 1)[0]}); see REDIS_URL")
        return wire

    def send(self, command: bytes) -> asyncio.Future:
        future = self._loop.create_future()
        if self.lost:
            future.set_exception(StoreUnavailable())
            return future
        if not self._waiting:
            self._answered_at = self._loop.time()
            if self._timeout_s is not None and self._watch is None:
                self._watch = self._loop.call_later(self._timeout_s, self._look)
        if not self._waiting and not self._outgoing:
            # Nothing to gather with: leave at once, a turn of the loop sooner.
            self._transport.write(command)
        else:
            if not self._outgoing:
                self._loop.call_soon(self._flush)
            self._outgoing.append(command)
        self._waiting.append(future)
        return future

    def close(self, why: str) -> None:
        if not self.lost:
            self._end(ConnectionError(why))
            if self._transport:
                self._transport.abort()

    def _flush(self) -> None:
        if self._outgoing and self._transport and not self.lost:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _look(self) -> None:
        """One timer for the connection, not one per command."""
        self._watch = None
        if not self._waiting or self.lost:
            return
        left_s = self._answered_at + self._timeout_s - self._loop.time()
        if left_s <= 0:
            self.close("Redis does not answer")
        else:
            self._watch = self._loop.call_later(left_s, self._look)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        try:
            while True:
                answer = reader.gets()
                if answer is False:
                    break
                future = waiting.popleft()
                # A caller that was cancelled has left; its answer is nobody else's.
                if not future.done():
                    future.set_result(answer)
        except (hiredis.ProtocolError, IndexError) as error:
            self.close(f"not a Redis server: {error}")
        self._answered_at = self._loop.time()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        self.lost = True
        if self._watch:
            self._watch.cancel()
            self._watch = None
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                refusal = StoreUnavailable()
                refusal.__cause__ = error
                future.set_exception(refusal)
