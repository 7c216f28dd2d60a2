"""The way of one request on the replica that its client asked: in by ``begin``, out by ``end``.

``begin`` is the only door to the task scripts; an exchange that is ended here
before it came to an end is cancelled at its publisher, whatever the cause.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Protocol

import msgspec
from msgspec import structs

from broker.errors import BadRequest, StoreUnavailable
from broker.model import Persona, Target
from broker.store import Store
from broker.store.tasks import Dispatched, Item

from .exchange import Exchange, Patience
from .post import Post

log = logging.getLogger(__name__)

#: How long a cancel is tried again while Redis is away; after that the lease's end does it.
_CANCEL_TRIES = 60


class Words(Protocol):
    """What a client wants that can be said in two languages, of which every LLM understands OpenAI's. ``operation`` and
    ``headers`` are those of the other."""

    operation: str
    headers: dict[str, str]

    def native(self) -> bytes:
        """The body for LLMs that understand the client's own language. Raises BadRequest."""

    def chat(self) -> bytes:
        """The body in OpenAI's. Raises BadRequest."""

    def by(self, persona: Persona) -> Words:
        """The same with what an agent adds to it."""


class Call(msgspec.Struct):
    """What a client wants: ``body`` is its JSON as it came. With ``words`` it is not said yet, until it is known whether
    the LLM is asked in OpenAI's language or is ``native`` to the other."""

    llm: str
    operation: str
    body: bytes
    streaming: bool
    owner: str
    patience: Patience
    words: Words | None = None
    native: bool = False

    def said(self, *, native: bool) -> Call:
        """The call as an LLM is asked it. Raises BadRequest for what cannot be said so."""
        if self.words is None:
            return self
        if native:
            return structs.replace(self, operation=self.words.operation, body=self.words.native(), native=True)
        return structs.replace(self, body=self.words.chat(), words=None)


class Upstreams(Protocol):
    """Who calls public LLMs (``broker/upstream/caller.py``)."""

    def understand(self, target: Target, words: Words) -> bool: ...

    def start(self, exchange: Exchange, call: Call, target: Target) -> asyncio.Task | None: ...


class Relay:
    def __init__(self, store: Store, post: Post, upstreams: Upstreams, *, inline_bytes: int):
        self._store = store
        self._post = post
        self._upstreams = upstreams
        # Names that were public when last asked for: only a guess, for the script looks each time.
        self._public: set[str] = set()
        # Whether a publisher's LLM understood an operation when last asked: a guess likewise.
        self._native: dict[tuple[str, str], bool] = {}
        self._calls: dict[str, asyncio.Task | None] = {}
        self._inline_bytes = inline_bytes

    @property
    def running(self) -> int:
        return len(self._post.exchanges)

    async def begin(self, call: Call, request_id: str) -> Exchange:
        """Dispatches a call. Raises what ``Tasks.dispatch`` raises; then nothing was kept."""
        exchange = Exchange(request_id, call.patience)
        # Open before the task exists: its first frame may be here before dispatch has returned.
        self._post.exchanges[request_id.encode()] = exchange
        deadline_ms = int(call.patience.deadline_s * 1000)
        try:
            said = self._guess(call)
            given, frame = await self._dispatch(call, said, request_id, deadline_ms)
            while given.state == "virtual":
                self._public.discard(call.llm)
                if call.words:
                    self._native[call.llm, call.words.operation] = given.native
                said = call.said(native=given.native)
                given, frame = await self._dispatch(call, said, request_id, deadline_ms)
            if given.target:
                self._public.add(call.llm)
                self._calls[request_id] = None
                said = call.said(native=bool(call.words) and self._upstreams.understand(given.target, call.words))
                self._calls[request_id] = self._upstreams.start(exchange, said, given.target)
        except (StoreUnavailable, asyncio.CancelledError):
            # It may have been accepted all the same.
            self.end(exchange, "client gone", unwritten=True)
            raise
        except BaseException:
            exchange.ended = True
            self.end(exchange, "")
            raise
        exchange.native = bool(said and said.native)
        if given.channel:
            self._post.deliver(given.channel, b"%s%d}" % (frame, max(1, deadline_ms)))
        if given.state in ("waiting", "waking"):
            exchange.queued(given.place, waking=given.state == "waking")
        return exchange

    def end(self, exchange: Exchange, reason: str, *, unwritten: bool = False) -> None:
        """Closes an exchange; cancels its task unless it has ended. A call to an upstream has no other end than this."""
        exchange.close()
        called = exchange.task in self._calls
        call = self._calls.pop(exchange.task, None)
        if call and not exchange.done:
            call.cancel()
        if self._post.exchanges.pop(exchange.task.encode(), None) and (called or not exchange.ended):
            self._post.errand(self._cancel(exchange.task, reason, unwritten))

    async def results(self, session: str, owner: str, items: list[Item]) -> list[str]:
        return await self._store.tasks.results(session, owner, items)

    def _guess(self, call: Call) -> Call | None:
        """The call as it must be said if its LLM is what it was when last asked; None: it is public, or the script is to
        tell first. What a public LLM is asked need not pass through Redis."""
        if call.llm in self._public:
            return None
        if call.words is None:
            return call
        native = self._native.get((call.llm, call.words.operation))
        try:
            return None if native is None else call.said(native=native)
        except BadRequest:
            return None  # no guess refuses

    async def _dispatch(self, call: Call, said: Call | None, request_id: str, deadline_ms: int) -> tuple[Dispatched, bytes]:
        frame, body = self._frame(said, request_id) if said else (b"", b"")
        given = await self._store.tasks.dispatch(
            call.llm, request_id, owner=call.owner, frame=frame, body=body, deadline_ms=deadline_ms,
            native=call.words.operation if call.words else "", natively=bool(said and said.native),
        )
        return given, frame

    def _frame(self, call: Call, request_id: str) -> tuple[bytes, bytes]:
        start = b'{"kind":"infer","taskId":"%s","llmName":%s,"operation":"%s","streaming":%s' % (
            request_id.encode(),
            msgspec.json.encode(call.llm),
            call.operation.encode(),
            b"true" if call.streaming else b"false",
        )
        if call.native:
            start = b'%s,"headers":%s' % (start, msgspec.json.encode(call.words.headers))
        if len(call.body) > self._inline_bytes:
            url = f"/api/v1/llms/_provider-task/{request_id}/request"
            return b'%s,"requestUrl":"%s","deadlineMs":' % (start, url.encode()), call.body
        # JSON has line breaks only between tokens; on an SSE data line they must be spaces.
        return b'%s,"request":%s,"deadlineMs":' % (start, call.body.translate(_ONE_LINE)), b""

    async def _cancel(self, task: str, reason: str, unwritten: bool) -> None:
        for _ in range(_CANCEL_TRIES):
            try:
                await self._store.tasks.cancel(task, reason, unwritten=unwritten)
                return
            except StoreUnavailable:
                await asyncio.sleep(0.5)
        log.warning("cancel not delivered, its lease will end it", extra={"task": task})


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def new_request_id() -> str:
    return f"req_{uuid.uuid4().hex}"
