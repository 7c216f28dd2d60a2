"""A request to a pool: one exchange for its client over up to three attempts, at different members.

Until something of the answer was handed out, a member that fails, or says 429 or 5xx, is left out and the pool is asked
again; when nobody else can answer, its client gets what the last one said. After that there is no second attempt. How
members did is reported, so that the choice learns of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from msgspec import structs

from broker.errors import BackendFailed, Refusal, StoreUnavailable
from broker.store.pools import Pools

from .call import Call
from .exchange import Exchange, Patience
from .numbering import Numbering
from .post import Post

ATTEMPTS = 3
#: Refusals after which another member may do better, and whether they speak against the one that failed.
_ANOTHER = {
    "publisher_offline": False, "not_published": False, "wake_failed": False, "backend_unreachable": True,
    "backend_error": True, "publisher_error": True, "upstream_unreachable": True, "stream_stalled": True,
}
#: An answer of 429 or 5xx is read to its end, so far, before another member is asked.
_SPARE_BYTES = 1 << 20
#: Reasons for a choice after which a success is news.
_UNSURE = ("probe", "last resort")


class Beginner(Protocol):
    """Who begins attempts and ends them (``relay.py``)."""

    async def begin(self, call: Call, request_id: str) -> Exchange: ...
    async def stop(self, exchange: Exchange, refusal: Refusal) -> None: ...


def attempts_of(request: str) -> list[str]:
    """The tasks that a request may have been given as."""
    return [request, *(f"{request}.{number}" for number in range(2, ATTEMPTS + 1))]


class Pooled:
    """An Exchange, to whoever writes the answer; ``attempt`` is the one under way."""

    def __init__(self, relay: Beginner, pools: Pools, post: Post, call: Call, first: Exchange):
        self.attempt = first
        self.refused = ""
        self.started_at = first.started_at
        self.marks = first.marks
        self._relay = relay
        self._pools = pools
        self._post = post
        self._call = call
        self._left_out = call.choice.left_out
        self._others = attempts_of(call.choice.request)[1:]
        self._waited_s = 0.0
        self._spare: tuple[Exchange, bytes, dict[str, str]] | None = None
        # Something of this attempt's answer was handed out, or no other can follow it.
        self._settled = False

    def __getattr__(self, name: str) -> object:
        """All else is the attempt's."""
        return getattr(self.attempt, name)

    @property
    def place(self) -> int:
        return self.attempt.place

    @place.setter
    def place(self, place: int) -> None:
        self.attempt.place = place

    @property
    def place_s(self) -> int:
        return self.attempt.place_s

    @place_s.setter
    def place_s(self, place_s: int) -> None:
        self.attempt.place_s = place_s

    @property
    def numbering(self) -> Numbering | None:
        return self.attempt.numbering

    @numbering.setter
    def numbering(self, numbering: Numbering | None) -> None:
        self.attempt.numbering = numbering

    @classmethod
    async def begin(cls, relay: Beginner, pools: Pools, post: Post, call: Call) -> Pooled:
        """Raises what ``Pools.dispatch`` raises."""
        return cls(relay, pools, post, call, await relay.begin(call, call.choice.request))

    async def next(self, wait_s: float | None = None) -> bytes | None:
        """As ``Exchange.next``, over all attempts."""
        while not self._settled:
            try:
                data = await self.attempt.next(wait_s)
                head = self.attempt.head
                if data is None:
                    # A resumable stream has told its name by now, which is this attempt's.
                    self._settled = bool(self._call.keep and self._call.keep.numbered)
                    return None
                if head and _is_failure(head.status):
                    data = await self._rest(data)
                    self._report("failed", f"status {head.status}")
                    self._spare = (self.attempt, data, dict(self.marks))
                    if self.attempt.done and await self._another():
                        continue
                elif not data and not self.attempt.done:
                    continue
                elif self.attempt.why in _UNSURE:
                    self._report("ok")
                self._settled = True
                return data
            except Refusal as refusal:
                self._say_failed(refusal)
                if refusal.code not in _ANOTHER:
                    return self._give_spare(refusal)
                # Nobody knows who it was that could not be woken; the script tried all.
                hopeless = refusal.code == "wake_failed" and not self.attempt.llm
                await self._relay.stop(self.attempt, refusal)
                if hopeless or not await self._another():
                    return self._give_spare(refusal)
        try:
            return await self.attempt.next(wait_s)
        except Refusal as refusal:
            self._say_failed(refusal)
            raise

    async def _another(self) -> bool:
        """Asks the pool again, without those that failed. False: nobody else can answer."""
        last = self.attempt
        if not self._others or self._is_anothers(last):
            return False
        if last.place:
            self._waited_s += last.sent_at - last.started_at
        if last.llm:
            self._left_out = (*self._left_out, last.llm)
        patience = self._patience_left()
        if patience is None:
            return False
        choice = structs.replace(self._call.choice, left_out=self._left_out)
        try:
            following = await self._relay.begin(
                structs.replace(self._call, patience=patience, choice=choice), self._others.pop(0)
            )
        except Refusal:
            return False
        self.marks.clear()
        self.marks.update(following.marks)
        following.marks = self.marks
        if last.numbering is not None:
            # What an answer without events put off.
            last.numbering.on = True
            following.numbering = last.numbering
        self.attempt = following
        await self._relay.stop(last, BackendFailed())
        return True

    def _patience_left(self) -> Patience | None:
        """What all attempts together have left; None: nothing."""
        given = self._call.patience
        deadline_s = given.deadline_s - (asyncio.get_running_loop().time() - self.started_at)
        if deadline_s <= 0:
            return None
        return replace(given, deadline_s=deadline_s, queue_wait_s=max(0.001, given.queue_wait_s - self._waited_s))

    async def _rest(self, data: bytes) -> bytes:
        """The rest of an answer that nobody wants, unless there is no other."""
        pieces, size = [data], len(data)
        while not self.attempt.done and size < _SPARE_BYTES:
            pieces.append(await self.attempt.next())
            size += len(pieces[-1])
        return b"".join(pieces)

    def _give_spare(self, refusal: Refusal) -> bytes:
        """The answer of 429 or 5xx that came before, as it came. Raises the refusal when there is none."""
        self._settled = True
        if self._spare is None:
            raise refusal
        self.attempt, data, marks = self._spare
        self.marks.clear()
        self.marks.update(marks)
        return data

    def _say_failed(self, refusal: Refusal) -> None:
        if refusal.code in _ANOTHER:
            self._report("failed" if _ANOTHER[refusal.code] else "lost", refusal.code)

    def _report(self, outcome: str, why: str = "") -> None:
        if self.attempt.llm:
            self._post.errand(self._tell(self.attempt.llm, outcome, self.attempt.task, why))

    async def _tell(self, llm: str, outcome: str, task: str, why: str) -> None:
        try:
            await self._pools.report(llm, outcome, self._call.choice.request, task, why=why)
        except StoreUnavailable:
            # The next one says it.
            return

    @staticmethod
    def _is_anothers(attempt: Exchange) -> bool:
        """Whether it is the reply to an earlier call with the same Idempotency-Key."""
        return "Idempotency-Replayed" in attempt.marks


def _is_failure(status: int) -> bool:
    return status == 429 or status >= 500
