"""One running turn: what is heard goes to whoever listens and into the thread, until it ends, well or not.

A turn belongs to its thread and not to a connection: it goes on when everybody who listens has left. It ends
exactly once, by an answer or by a refusal; only then does its last event go out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw, structs

from broker.chat_errors import BrokerStopped, ReplicaLost, TurnCancelled
from broker.errors import DeadlineExceeded, Refusal, Relayed, StoreUnavailable
from broker.store.turn_events import Event
from broker.store.turns import Turns as TurnStore
from broker.threads import Begun, Kept, Turn as Shown, to_keep, turn_shown

from . import events
from .listener import Listener
from .pieces import Outcome, Piece, Text, Warn
from .record import Record

log = logging.getLogger(__name__)

#: How long the end of a turn is tried to be written; then its thread's next look finds it ended as an error.
END_S = 10.0

_encode = msgspec.json.Encoder().encode
_BY_WORD = {"cancelled": TurnCancelled, "gone": lambda: TurnCancelled("The thread was deleted."), "lost": ReplicaLost}

#: Asks the LLM and the tools: is given ``hear`` and ``said`` as ``loop.converse`` wants them.
Talk = Callable[[Callable[[Piece], None], Callable[[bytes], None]], Awaitable[Outcome]]


class Turn:
    """``live``: who began it listens, if it is streamed. Once it has ``ended``, ``shown`` is it as callers see it, or
    ``refusal`` why it failed. ``began_at``: by the loop's clock."""

    def __init__(self, store: TurnStore, begun: Begun, talk: Talk, *, deadline_s: float):
        self.thread, self.number, self.token = begun.thread, begun.turn, begun.token
        self.refusal: Refusal | None = None
        self.shown: Shown | None = None
        self.live: Listener | None = None
        self.ended = asyncio.Event()
        self._begun = begun
        self._deadline_s = deadline_s
        self._record = Record(store, begun, hold_s=deadline_s + END_S, heard=self.hear_of)
        self._listeners: set[Listener] = set()
        self.began_at = asyncio.get_running_loop().time()
        self._text: list[str] = []
        self._warnings: list[str] = []
        self._final: Kept | None = None
        self._why: Refusal | None = None
        self._talk = asyncio.create_task(talk(self._hear, self._said))

    def listen(self, limit_bytes: int) -> Listener:
        """Hears what comes from now on, until ``leave``."""
        listener = Listener(limit_bytes)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def stop(self, why: Refusal) -> None:
        """Ends the turn with what it has, unless it is ending."""
        if not self._talk.done():
            self._why = self._why or why
            self._talk.cancel(self._why.code)

    def hear_of(self, word: str) -> None:
        """The store's word about this turn: cancelled · lost · gone."""
        self.stop(_BY_WORD[word]())

    async def run(self) -> None:
        """To the end. Cancelled itself, it leaves the end to others."""
        try:
            await asyncio.wait({self._talk}, timeout=self._deadline_s)
            self.stop(DeadlineExceeded())
            await asyncio.wait({self._talk})
            refusal = self._refusal()
            await (self._fail(refusal) if refusal else self._complete(self._talk.result()))
        finally:
            self._talk.cancel()
            if self.shown is None and self.refusal is None:
                self._break(BrokerStopped())
            self.ended.set()

    def _hear(self, piece: Piece) -> None:
        if isinstance(piece, Text):
            self._text.append(piece.text)
        elif isinstance(piece, Warn):
            self._warnings.append(piece.message)
        self._tell(self._record.event(*events.of_piece(piece)))

    def _said(self, message: bytes) -> None:
        self._keep_final()
        kept = to_keep(message, id=self._record.next_id, turn=self.number, created_ms=self._now_ms())
        self._text.clear()
        if kept.role == "assistant" and kept.tool_calls is msgspec.UNSET:
            # What else is known of a final message is known with the outcome only.
            self._final = kept
        else:
            self._record.message(kept)

    async def _complete(self, outcome: Outcome) -> None:
        if self._final:
            usage = msgspec.UNSET if outcome.usage is None else Raw(_encode(outcome.usage))
            self._final = structs.replace(self._final, finish_reason=outcome.finish_reason, usage=usage)
        self._keep_final()
        shown = turn_shown(self.thread, self.number, self._record.made, running=None, error=None)
        last = self._record.event(*events.complete(shown))
        word = await self._record.end(b"", END_S)
        if word == "ok":
            self.shown = structs.replace(shown, warnings=self._warnings)
            self._tell(last)
        else:
            self._break(_BY_WORD[word]() if word else StoreUnavailable("The broker cannot reach its Redis, so this turn could not be kept; ask again."))

    async def _fail(self, refusal: Refusal) -> None:
        self._keep_final()
        if self._text:
            partial = Raw(_encode("".join(self._text)))
            self._record.message(Kept(self._record.next_id, self.number, self._now_ms(), "assistant", partial))
        error = events.error_of(refusal)
        last = self._record.event(*events.failed(error))
        if await self._record.end(error, END_S) == "ok":
            self.refusal = refusal
            self._tell(last)
        else:
            self._break(refusal)

    def _break(self, refusal: Refusal) -> None:
        """It ended for us, but the thread knows of another end, or of none yet."""
        self.refusal = refusal
        self._tell(Event(0, *events.failed(events.error_of(refusal))))

    def _refusal(self) -> Refusal | None:
        """Why the talk failed; None: it did not."""
        if self._talk.cancelled():
            return self._why or BrokerStopped()
        error = self._talk.exception()
        if error is None or isinstance(error, Refusal):
            return error and (self._why or error)
        log.error("bug", exc_info=error, extra={"thread": self.thread, "turn": self.number})
        return Relayed(500, "internal_error", "The broker made a mistake; its log says more under this request's id.")

    def _keep_final(self) -> None:
        if self._final:
            final, self._final = self._final, None
            self._record.message(final)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener.put(event)

    def _now_ms(self) -> int:
        """By Redis' clock, as far as it is known."""
        return self._begun.now_ms + int((asyncio.get_running_loop().time() - self.began_at) * 1000)
