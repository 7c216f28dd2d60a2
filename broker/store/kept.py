"""Kept replies: what a task said is kept in Redis, for clients that come back, at any replica.

Written by ``task_results`` and, for public LLMs, by the replica that calls the upstream (``append``). Read by
``read``, which blocks, on a connection of its own. Whether a task goes on without a reader is decided in ``lua/``.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from broker.unknown import UnknownStream

from .scripts import Caller, Scripts

_BLOCK_MS = 4000
#: Entries of one reply that are read at once.
_COUNT = 100
_NUDGE_TTL_MS = 3_600_000


class Place(NamedTuple):
    """An entry of a kept reply: Redis' two numbers."""

    ms: int
    number: int

    @classmethod
    def read(cls, entry: bytes) -> Place:
        ms, number = entry.split(b"-")
        return cls(int(ms), int(number))

    def before(self) -> Place:
        """The place from which reading on begins with this entry."""
        return Place(self.ms, self.number - 1) if self.number else Place(self.ms - 1, (1 << 64) - 1)


START = Place(0, 0)


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """How a task's reply is kept: ``ttl_ms`` after its end, at most ``room_bytes``.

    ``grace_ms``: how long it goes on when nobody waits for it; 0: to its end. ``followed``: somebody waits for it from
    the beginning. ``idem``, ``fingerprint``, ``idem_ms``: of an idempotent call the digest of its key, that of its
    request, and how long the key counts. ``numbered``: its client wants the events' ids.
    """

    ttl_ms: int
    room_bytes: int
    grace_ms: int
    followed: bool = True
    idem: str = ""
    fingerprint: str = ""
    idem_ms: int = 0
    numbered: bool = False

    def words(self) -> str:
        """As the scripts read it."""
        words = f"{self.ttl_ms} {self.room_bytes} {self.grace_ms} {int(self.followed)}"
        return f"{words} {self.idem} {self.fingerprint} {self.idem_ms}" if self.idem else words


class Kept:
    def __init__(self, link: Caller, blocking: Caller, scripts: Scripts, prefix: str, replica: str):
        self._link = link
        self._blocking = blocking
        self._scripts = scripts
        self._prefix = f"{prefix}kept:".encode()
        self._nudges = f"{prefix}nudges:{replica}".encode()
        self._nudged = b"0"
        self._replica = replica

    async def follow(self, task: str, owner: str) -> bool:
        """Says that somebody here follows a task. False: it has ended. Raises UnknownStream."""
        answer = await self._scripts.run("kept_follow", task, owner, self._replica)
        if answer == b"unknown":
            raise UnknownStream()
        return answer == b"live"

    async def lacks(self, task: str, entry: bytes) -> bool:
        """Whether a reply that is there has no such entry."""
        name = self._prefix + task.encode()
        return not await self._link.call("XRANGE", name, entry, entry) and bool(await self._link.call("EXISTS", name))

    async def leave(self, task: str, *, asker: bool) -> None:
        """Says that nobody here waits for a task any more: its asker, or else the last one who followed it."""
        await self._scripts.run("kept_leave", task, self._replica, "asker" if asker else "follower")

    async def append(self, task: str, parts: bytes) -> bool:
        """Keeps what an upstream answered. False: with that, or before, the reply has ended."""
        return await self._scripts.run("kept_append", task, self._replica, parts) == b"on"

    async def read(self, places: dict[str, Place]) -> list[tuple[str, list[tuple[bytes, bytes]]]]:
        """What follows these places: for each task (entry, parts) in order. Waits up to 4 s for something to come, or
        for a nudge."""
        streams = [self._nudges, *(self._prefix + task.encode() for task in places)]
        entries = [self._nudged, *(b"%d-%d" % place for place in places.values())]
        answer = await self._blocking.call("XREAD", "COUNT", _COUNT, "BLOCK", _BLOCK_MS, "STREAMS", *streams, *entries)
        found = []
        for stream, items in answer or ():
            if stream == self._nudges:
                self._nudged = items[-1][0]
            else:
                # The first entry says only whose it is.
                parts = [(entry, fields[1] if fields[0] == b"p" else b"") for entry, fields in items]
                found.append((stream[len(self._prefix) :].decode(), parts))
        return found

    async def all(self, task: str) -> bytes:
        """The parts of a reply so far, without waiting; nothing for one that is not there."""
        found: list[bytes] = []
        start = b"-"
        while entries := await self._link.call("XRANGE", self._prefix + task.encode(), start, "+", "COUNT", _COUNT):
            found += [fields[1] for _, fields in entries if fields[0] == b"p"]
            start = b"(" + entries[-1][0]
        return b"".join(found)

    async def nudge(self) -> None:
        """Ends the wait of a ``read`` under way: there is more to be read than it knows."""
        await self._scripts.run("kept_nudge", self._replica, _NUDGE_TTL_MS)

    async def missing(self, tasks: list[str]) -> list[str]:
        """Those whose reply is not there any more: its time is over, or Redis lost it."""
        return [task for task in tasks if not await self._link.call("EXISTS", self._prefix + task.encode())]
