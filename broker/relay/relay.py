"""The way of one request on the replica that its client asked: in by ``begin``, out by ``end``.

``begin`` is the only door to the task scripts; an exchange that is ended here
before it came to an end is cancelled at its publisher, whatever the cause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

import msgspec

from broker.errors import BadRequest, Refusal, StoreUnavailable
from broker.model import Target
from broker.store import Store
from broker.store.kept import Keep
from broker.store.tasks import Dispatched, Item

from . import frames
from .call import Call, Upstreams
from .exchange import Exchange, Patience
from .following import Followed, Following, say_left
from .keeper import Keeper, Pen
from .numbering import Numbering
from .parts import failure
from .post import Post

log = logging.getLogger(__name__)

#: How long a cancel is tried again while Redis is away; after that the lease's end does it.
_CANCEL_TRIES = 60
#: Ends of an exchange that are not ends of its work, where the reply is kept: whoever asked may come again.
_LEFT = frozenset({"client gone", "client_too_slow", "broker_stopped", "broker_restarted"})


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
        self.following = Following(store, post)
        #: Is told when a request ends here.
        self.heard_end: Callable[[], None] = lambda: None

    @property
    def running(self) -> int:
        return len(self._post.exchanges)

    @property
    def room_for_calls(self) -> int:
        """How many calls to upstreams more this replica may make now."""
        return self._upstreams.room

    async def begin(self, call: Call, request_id: str) -> Exchange:
        """Dispatches a call. Raises what ``Tasks.dispatch`` raises; then nothing was kept."""
        exchange = Exchange(request_id, call.patience)
        # Open before the task exists: its first frame may be here before dispatch has returned.
        self._post.exchanges[request_id.encode()] = exchange
        try:
            given, said = await self._dispatch(call, request_id)
        except (StoreUnavailable, asyncio.CancelledError):
            # It may have been accepted all the same.
            self.end(exchange, "client gone", unwritten=True)
            raise
        except BaseException:
            exchange.ended = True
            self.end(exchange, "")
            raise
        if call.keep and (given.target or given.task):
            exchange.ended = True
            self.end(exchange, "")
            return await self._follow(said or call, given, request_id)
        if call.keep:
            exchange.kept = True
            exchange.marks = _marks(call.keep, request_id)
        if given.llm:
            exchange.serve(given.llm, given.why)
        exchange.native = bool(said and said.native)
        if given.target:
            self._calls[request_id] = self._upstreams.start(exchange, said, given.target)
        elif given.state != "sent":
            exchange.queued(given.place, given.seconds, waking=given.state == "waking")
        return exchange

    async def start(self, call: Call, task: str) -> Dispatched:
        """Dispatches a kept call that nobody waits for (``keep.followed`` False). Raises what ``Tasks.dispatch`` raises."""
        given, said = await self._dispatch(call, task)
        if given.target:
            self.make(said or call, given.target, task)
        return given

    def make(self, call: Call, target: Target, task: str) -> None:
        """Makes a call to a public LLM that a script gave to this replica; its answer is kept."""
        self.write(task, lambda pen: self._upstreams.start(pen, call, target))

    def write(self, task: str, start: Callable[[Pen], asyncio.Task | None]) -> None:
        """Keeps the answer of a task that a script gave to this replica, as it is written by what ``start`` begins."""

        def ended(lost: bool) -> None:
            self._post.exchanges.pop(task.encode(), None)
            self.heard_end()
            if lost:
                last = failure(503, "broker_lost", "the broker could not keep the answer: its Redis was away")
                self._post.errand(self._cancel(task, "broker_lost", False, last))

        keeper = Keeper(self._store.kept, task, ended)
        self._post.exchanges[task.encode()] = keeper
        self._post.errand(keeper.keep())
        keeper.runs(start(keeper.pen))

    async def follow(self, task: str, owner: str, patience: Patience, *, after: Numbering | None = None) -> Followed:
        """A kept reply, from where that client is. Raises UnknownStream, BadEventId."""
        return await self.following.follow(task, owner, patience, after=after)

    def end(
        self, exchange: Exchange, reason: str, *, refusal: Refusal | None = None, unwritten: bool = False
    ) -> None:
        """Closes an exchange; cancels its task unless it has ended. A call to an upstream has no other end than this.
        Work whose reply is kept goes on when its client has only left. ``refusal``: what its client is told, and
        with it whoever else waits for a kept reply."""
        if last_word := self._close(exchange.attempt, reason, refusal, unwritten):
            self._post.errand(last_word)

    async def stop(self, exchange: Exchange, refusal: Refusal) -> None:
        """As ``end``; when it returns, the key of a kept reply to an idempotent call is free for another attempt."""
        if last_word := self._close(exchange, refusal.code, refusal, False):
            if exchange.kept:
                await last_word
            else:
                self._post.errand(last_word)

    def _close(self, exchange: Exchange, reason: str, refusal: Refusal | None, unwritten: bool) -> Coroutine | None:
        """Closes an exchange; what is still to be said of it."""
        exchange.close()
        left = exchange.kept and not unwritten and reason in _LEFT
        last = failure(refusal.status, refusal.code, refusal.message) if exchange.kept and refusal else b""
        if isinstance(exchange, Followed):
            left = left or not (exchange.asks or reason == "stream_stalled")
            self.following.leave(exchange)
            return self._cancel(exchange.task, reason, unwritten, last) if last and not left and not exchange.ended else None
        called = exchange.task in self._calls
        call = self._calls.pop(exchange.task, None)
        if call and not exchange.done:
            call.cancel()
        if not self._post.exchanges.pop(exchange.task.encode(), None) or (exchange.ended and not called):
            return None
        if left:
            return say_left(self._store.kept, exchange.task, asker=True)
        return self._cancel(exchange.task, reason, unwritten, last)

    async def results(self, session: str, owner: str, items: list[Item]) -> list[str]:
        words = await self._store.tasks.results(session, owner, items)
        if any(item.flag == "e" for item in items):
            self.heard_end()
        return words

    async def _dispatch(self, call: Call, request_id: str) -> tuple[Dispatched, Call | None]:
        """Hands a call to the scripts, and its frame to the channel if that is here. Also gives the call as it was said."""
        if call.choice:
            said = call.said(native=False)
            return await self._choose(said, request_id), said
        deadline_ms = int(call.patience.deadline_s * 1000)
        said = self._guess(call)
        while True:
            frame, body = self._frame(said, request_id) if said else (b"", b"")
            given = await self._store.tasks.dispatch(
                call.llm, request_id, owner=call.owner, frame=frame, body=body, deadline_ms=deadline_ms,
                priority=call.priority, may_wake=call.may_wake, keep=call.keep,
                native=call.other_language, natively=bool(said and said.native),
            )
            if given.state != "virtual":
                break
            self._public.discard(call.llm)
            if call.other_language:
                self._native[call.llm, call.other_language] = given.native
            said = call.said(native=given.native)
        if given.target:
            self._public.add(call.llm)
            self._calls[request_id] = None  # what cannot be said is no call, but it was accepted
            said = call.said(native=bool(call.other_language) and self._upstreams.understand(given.target, call.words))
            del self._calls[request_id]
        if given.channel:
            self._post.deliver(given.channel, b"%s%d}" % (frame, max(1, deadline_ms)))
        return given, said

    def _guess(self, call: Call) -> Call | None:
        """The call as it must be said if its LLM is what it was when last asked; None: it is public, or the script is to
        tell first. What a public LLM is asked need not pass through Redis."""
        if call.llm in self._public:
            return None
        if not call.other_language:
            return call.said(native=False)
        native = self._native.get((call.llm, call.other_language))
        try:
            return None if native is None else call.said(native=native)
        except BadRequest:
            return None  # no guess refuses

    async def _choose(self, call: Call, task: str) -> Dispatched:
        """As ``_dispatch``, to whom a pool chooses."""
        start = frames.head(task)
        tail, body = self._tail(call, task)
        deadline_ms = int(call.patience.deadline_s * 1000)
        given = await self._store.pools.dispatch(
            call.llm, task, call.choice, owner=call.owner, frame=start, tail=tail, body=body, deadline_ms=deadline_ms,
            priority=call.priority, may_wake=call.may_wake, keep=call.keep,
        )
        if given.channel:
            frame = b"%s%s%s%d}" % (start, frames.named(given.llm), tail, max(1, deadline_ms))
            self._post.deliver(given.channel, frame)
        return given

    async def _follow(self, call: Call, given: Dispatched, request_id: str) -> Followed:
        """The reply to a kept call that does not come by the reply stream: from an upstream, or to one asked before."""
        if given.target:
            self.make(call, given.target, request_id)
            followed = self.following.begin(request_id, call.patience)
            followed.marks = _marks(call.keep, request_id)
            if given.llm:
                followed.serve(given.llm, given.why)
        else:
            followed = await self.following.follow(given.task, call.owner, call.patience)
            followed.marks = {**_marks(call.keep, given.task), "Idempotency-Replayed": "true"}
        return followed

    def _frame(self, call: Call, task: str) -> tuple[bytes, bytes]:
        """The frame for a named LLM, and the body if it is too large for that."""
        headers = b',"headers":%s' % msgspec.json.encode(call.words.headers) if call.native else b""
        return self._tail(call, task, frames.head(task) + frames.named(call.llm) + headers)

    def _tail(self, call: Call, task: str, start: bytes = b"") -> tuple[bytes, bytes]:
        return frames.tail(task, call.operation, call.streaming, call.body, self._inline_bytes, start=start)

    async def _cancel(self, task: str, reason: str, unwritten: bool, refusal: bytes = b"") -> None:
        for _ in range(_CANCEL_TRIES):
            try:
                await self._store.tasks.cancel(task, reason, unwritten=unwritten, refusal=refusal)
                return
            except StoreUnavailable:
                await asyncio.sleep(0.5)
        log.warning("cancel not delivered, its lease will end it", extra={"task": task})


def _marks(keep: Keep, task: str) -> dict[str, str]:
    return {"X-Stream-Id": task} if keep.numbered else {}

