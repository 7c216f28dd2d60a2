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

from broker.errors import StoreUnavailable
from broker.model import Target
from broker.store import Store
from broker.store.tasks import Item

from .exchange import Exchange, Patience
from .post import Post

log = logging.getLogger(__name__)

#: How long a cancel is tried again while Redis is away; after that the lease's end does it.
_CANCEL_TRIES = 60


class Call(msgspec.Struct):
    """What a client wants: ``body`` is its JSON as it came."""

    llm: str
    operation: str
    body: bytes
    streaming: bool
    owner: str
    patience: Patience


class Upstreams(Protocol):
    """Who calls public LLMs (``broker/upstream/caller.py``)."""

    def start(self, exchange: Exchange, call: Call, target: Target) -> asyncio.Task | None: ...


class Relay:
    def __init__(self, store: Store, post: Post, upstreams: Upstreams, *, inline_bytes: int):
        self._store = store
        self._post = post
        self._upstreams = upstreams
        # Names that were public when last asked for: only a guess, for the script looks each time.
        self._public: set[str] = set()
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
        # What a public LLM is asked need not pass through Redis.
        frame, body = (b"", b"") if call.llm in self._public else self._frame(call, request_id)
        deadline_ms = int(call.patience.deadline_s * 1000)
        try:
            given = await self._store.tasks.dispatch(
                call.llm, request_id, owner=call.owner, frame=frame, body=body, deadline_ms=deadline_ms
            )
            if given.state == "virtual":
                self._public.discard(call.llm)
                frame, body = self._frame(call, request_id)
                given = await self._store.tasks.dispatch(
                    call.llm, request_id, owner=call.owner, frame=frame, body=body, deadline_ms=deadline_ms
                )
        except (StoreUnavailable, asyncio.CancelledError):
            # It may have been accepted all the same.
            self.end(exchange, "client gone", unwritten=True)
            raise
        except BaseException:
            exchange.ended = True
            self.end(exchange, "")
            raise
        if given.target:
            self._public.add(call.llm)
            self._calls[request_id] = self._upstreams.start(exchange, call, given.target)
            return exchange
        if given.channel:
            self._post.deliver(given.channel, b"%s%d}" % (frame, max(1, deadline_ms)))
        if given.state != "sent":
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

    def _frame(self, call: Call, request_id: str) -> tuple[bytes, bytes]:
        start = b'{"kind":"infer","taskId":"%s","llmName":%s,"operation":"%s","streaming":%s' % (
            request_id.encode(),
            msgspec.json.encode(call.llm),
            call.operation.encode(),
            b"true" if call.streaming else b"false",
        )
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
