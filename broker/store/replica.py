"""This replica as others see it: its sign of life, its two streams, and what falls due.

``read`` is the one blocking read of the process; it runs on a connection of its
own. The streams are trimmed by what was read, never by length.
"""

from __future__ import annotations

from .scripts import Caller, Scripts

_BLOCK_MS = 4000
_COUNT = 500


class Replica:
    def __init__(
        self, link: Caller, blocking: Caller, scripts: Scripts, prefix: str, name: str, *,
        ttl_ms: int, accept_ms: int, grace_ms: int, stale_ms: int, expire_ms: int, settle_ms: int, sweep_ms: int,
    ):
        self.name = name
        self._link = link
        self._blocking = blocking
        self._scripts = scripts
        self._inbox = f"{prefix}inbox:{name}".encode()
        self._reply = f"{prefix}reply:{name}".encode()
        self._asked = f"{prefix}asked:{name}".encode()
        self._replicas = f"{prefix}replicas"
        self._lock = f"{prefix}sweep-lock"
        self._ttl_ms = ttl_ms
        self._due = (200, accept_ms, grace_ms, expire_ms, ttl_ms)
        self._sweep = (200, stale_ms, expire_ms, settle_ms)
        self._grace_ms = grace_ms
        self._accept_ms = accept_ms
        self._sweep_ms = sweep_ms
        self._last = {self._inbox: b"0", self._reply: b"0"}
        self._untrimmed: dict[bytes, bytes] = {}

    async def beat(self, *, first: bool = False) -> bool:
        """False: the others took this replica for dead, so all that it holds is void."""
        answer = await self._scripts.run("replica_beat", self.name, self._ttl_ms, 3_600_000, int(first))
        if answer == b"lost":
            self._last = {self._inbox: b"0", self._reply: b"0"}
        return answer == b"ok"

    async def alone(self) -> bool:
        """Whether no other replica serves this namespace."""
        return int(await self._link.call("ZCARD", self._replicas)) <= 1

    async def lost(self, tasks: list[bytes]) -> set[bytes]:
        """Those of our requests that Redis does not know: they ended, or it lost them."""
        known = await self._link.call("SMISMEMBER", self._asked, *tasks)
        return {task for task, here in zip(tasks, known, strict=True) if not here}

    async def leave(self) -> None:
        await self._scripts.run("replica_leave", self.name, self._grace_ms, self._accept_ms)

    async def read(self) -> tuple[list[list[bytes]], list[list[bytes]]]:
        """What came since the last read: (inbox entries, reply entries), each a flat list of fields
        and values. Waits up to 4 s for something to come."""
        answer = await self._blocking.call(
            "XREAD", "COUNT", _COUNT, "BLOCK", _BLOCK_MS, "STREAMS",
            self._inbox, self._reply, self._last[self._inbox], self._last[self._reply],
        )
        entries: dict[bytes, list[list[bytes]]] = {self._inbox: [], self._reply: []}
        for stream, items in answer or ():
            if items:
                self._last[stream] = self._untrimmed[stream] = items[-1][0]
                entries[stream] = [fields for _, fields in items]
        return entries[self._inbox], entries[self._reply]

    async def trim(self) -> None:
        """Drops what was read from both streams."""
        done, self._untrimmed = self._untrimmed, {}
        for stream, last in done.items():
            ms, count = last.split(b"-")
            await self._link.call("XTRIM", stream, "MINID", b"%s-%d" % (ms, int(count) + 1))

    async def reap(self) -> int:
        """Does what is due; returns how many things that were."""
        return int(await self._scripts.run("reap", *self._due))

    async def sweep(self) -> dict:
        """A whole sweep: ``{markedInactive, deleted, kept}``, ``kept`` being LLMs that public agents hold."""
        marked = deleted = 0
        kept: set[str] = set()
        more = 1
        while more:
            m, d, more, *names = await self._scripts.run("sweep", *self._sweep)
            marked, deleted = marked + m, deleted + d
            kept.update(name.decode() for name in names)
        return {"markedInactive": marked, "deleted": deleted, "kept": sorted(kept)}

    async def may_sweep(self) -> bool:
        """Whether it is this process that sweeps now: one of them does in each period."""
        taken = await self._link.call("SET", self._lock, self.name, "NX", "PX", max(1, int(self._sweep_ms * 0.9)))
        return taken is not None
