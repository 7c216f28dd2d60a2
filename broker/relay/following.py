"""Clients of this replica that follow kept replies: one that asked before, one that comes back, one that waits elsewhere.

All are read in one loop, by place and not by luck: a follower is given what is after its own place, however often it was
read. One that reads slowly is left out until it has room; nobody waits for it, and it misses nothing.
"""

from __future__ import annotations

import asyncio
import logging

from broker.errors import StoreUnavailable
from broker.store import Store
from broker.store.kept import START, Place

from .exchange import Exchange, Patience
from .numbering import BadEventId, Numbering
from .parts import failure, part, split
from .post import Post

log = logging.getLogger(__name__)

_LOOK_S = 4.0


class Followed(Exchange):
    """The exchange of a client that follows. ``asks``: it asked for the work itself, so a refusal of its own ends it."""

    def __init__(self, task: str, patience: Patience, following: Following, *, asks: bool):
        super().__init__(task, patience)
        self.kept = True
        self.asks = asks
        self.at = START
        self._following = following
        self._waits_for_room = False

    def may_take(self) -> bool:
        """Whether there is room for more; if not, it will nudge when there is."""
        self._waits_for_room = self._held >= self._patience.buffer_bytes / 2
        return not self._waits_for_room

    def take(self, entry: bytes, parts: bytes) -> None:
        """An entry of the reply; those that it had before are nothing new."""
        at = Place.read(entry)
        if at <= self.at:
            return
        self.at = at
        if not parts:
            return
        self._held += len(parts)
        self._parts.extend(split(part(b"K", entry) + parts))
        self._wake()

    async def next(self, wait_s: float | None = None) -> bytes | None:
        taken = await super().next(wait_s)
        if self._waits_for_room:
            self._waits_for_room = False
            self._following.nudge()
        return taken


class Following:
    def __init__(self, store: Store, post: Post):
        self._kept = store.kept
        self._post = post
        self._followed: dict[str, list[Followed]] = {}
        self._loop: asyncio.Task | None = None

    @property
    def running(self) -> list[Followed]:
        """Everybody who follows here."""
        return [one for ones in self._followed.values() for one in ones]

    async def follow(self, task: str, owner: str, patience: Patience, *, after: Numbering | None = None) -> Followed:
        """Follows a kept reply, from where that client is. Raises UnknownStream (also for another owner's), BadEventId (it has
        an event of another stream, and would wait for ever), StoreUnavailable."""
        followed = Followed(task, patience, self, asks=False)
        followed.at = after.start if after else START
        # Counted before it is told, so that another's leaving cannot be the last word on who waits here.
        self._add(followed)
        try:
            await self._kept.follow(task, owner)
            if after and after.seen and await self._kept.lacks(task, after.seen):
                raise BadEventId(after.seen.decode())
        except BaseException:
            self.leave(followed)
            raise
        self._read_on()
        return followed

    def begin(self, task: str, patience: Patience) -> Followed:
        """Follows a reply whose task was dispatched as followed by this replica."""
        followed = Followed(task, patience, self, asks=True)
        self._add(followed)
        self._read_on()
        return followed

    def leave(self, followed: Followed) -> None:
        """This client follows no more. What nobody follows has a time to be followed again; then it is stopped."""
        followed.close()
        ones = self._followed.get(followed.task, [])
        if followed not in ones:
            return
        ones.remove(followed)
        if not ones:
            del self._followed[followed.task]
            if not followed.ended:
                self._post.errand(self._say_left(followed.task))

    def nudge(self) -> None:
        """There is more to be read than the read under way knows."""
        self._post.errand(self._nudge())

    def void(self) -> None:
        """The others took this replica for dead, so nobody knows any more who follows here."""
        self.give_up(failure(503, "broker_restarted", "the broker lost touch with its Redis for too long; resume the stream"))

    def give_up(self, refusal: bytes) -> None:
        for followed in self.running:
            followed.give_up(refusal)

    async def close(self) -> None:
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    def _add(self, followed: Followed) -> None:
        self._followed.setdefault(followed.task, []).append(followed)

    def _read_on(self) -> None:
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._read())
        else:
            self.nudge()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        while self._followed:
            try:
                # Who comes during the read has no part in it: there might be a gap.
                ready = {task: [one for one in ones if one.may_take()] for task, ones in self._followed.items()}
                places = {task: min(one.at for one in ones) for task, ones in ready.items() if ones}
                for task, entries in await self._kept.read(places):
                    for entry, parts in entries:
                        for followed in ready[task]:
                            followed.take(entry, parts)
                if loop.time() - looked_at > _LOOK_S:
                    looked_at = loop.time()
                    await self._look_for_lost()
            except StoreUnavailable:
                await asyncio.sleep(0.2)
            except Exception:
                # Whatever it was, nobody here would be given anything any more.
                log.exception("bug", extra={"duty": "following"})
                await asyncio.sleep(1)

    async def _look_for_lost(self) -> None:
        refusal = failure(503, "broker_restarted", "the broker's Redis lost this reply; send the request again")
        for task in await self._kept.missing(list(self._followed)):
            for followed in self._followed.get(task, ()):
                followed.give_up(refusal)

    async def _say_left(self, task: str) -> None:
        if task not in self._followed:
            await say_left(self._kept, task, asker=False)

    async def _nudge(self) -> None:
        try:
            await self._kept.nudge()
        except StoreUnavailable:
            log.debug("Redis is away")


async def say_left(kept, task: str, *, asker: bool) -> None:
    """Tells that a client here went away; tried again while Redis is away, as nobody else would tell it."""
    for _ in range(60):
        try:
            return await kept.leave(task, asker=asker)
        except StoreUnavailable:
            await asyncio.sleep(0.5)
    log.warning("leaving not told; the deadline will end the task", extra={"task": task})
