"""Tasks: given to a session, answered by it, cancelled. One script each.

``dispatch`` is the only way in. The ends are: the publisher's last frame
(``results``), ``cancel``, and what falls due (``reap.lua``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from broker.errors import IdempotencyMismatch, PublisherOffline, QueueFull, WakeForbidden
from broker.model import Target
from broker.unknown import UnknownLLM, UnknownSession, UnknownTask, UnknownToolServer
from broker.wire import TOOLS

from .kept import Keep
from .scripts import Scripts


@dataclass(slots=True)
class Item:
    """What one publisher says of one task in one call; frames in a row are one item."""

    task: str
    seq: int | None
    count: int
    flag: str
    """c: goes on · e: ends · a: accept."""
    parts: list[bytes] = field(default_factory=list)
    note: str = ""
    lines: list[int] = field(default_factory=list)


class Dispatched(NamedTuple):
    """What became of a request: sent | waiting | waking | public | virtual, its place in line with the seconds that
    this may take, and, when this replica holds the publisher's channel itself, that channel's name: the frame is then
    to be written here. A public LLM's ``target`` is to be called from here. virtual: come again with the frame, said as
    ``native`` tells. kept: ``task`` answers the call. Of a pool: the member that has it, and why that one."""

    state: str
    place: int = 0
    seconds: int = 0
    channel: bytes = b""
    target: Target | None = None
    task: str = ""
    llm: str = ""
    why: str = ""
    native: bool = False


class Standing(NamedTuple):
    """Where a request is: its state (waiting | waking | sent | running | cancelling | upstream), and in a line its
    place and the seconds that this may take, else 0."""

    state: str
    llm: str
    priority: str
    place: int
    seconds: int


class Tasks:
    def __init__(
        self, scripts: Scripts, replica: str, *, accept_ms: int, stale_ms: int, expire_ms: int,
        lease_grace_ms: int, wake_limit_ms: int, queue_length: int, queue_bytes: int,
    ):
        self._scripts = scripts
        self._replica = replica
        self._accept_ms = accept_ms
        self._stale_ms = stale_ms
        self._limits = (lease_grace_ms, queue_length, queue_bytes, wake_limit_ms, accept_ms, stale_ms, expire_ms)

    async def dispatch(
        self, llm: str, task: str, *, owner: str, frame: bytes, body: bytes, deadline_ms: int,
        priority: str = "interactive", may_wake: bool = True, keep: Keep | None = None,
        native: str = "", natively: bool = False,
    ) -> Dispatched:
        """Gives a request to the LLM's session.

        ``frame`` is the JSON up to and with ``"deadlineMs":``; ``body`` what is too
        large for it. Both empty: the LLM is held to be public; if it is not, the state is ``virtual``
        and nothing was done. So it is, too, for a request that can also be said as the operation ``native``,
        when the frame is said otherwise than the publisher understands it best (``natively``: as that operation).
        ``keep``: its reply is kept; the state is ``kept`` when another task answers, or answered, the same idempotent
        call. Raises UnknownLLM, UnknownToolServer, PublisherOffline, QueueFull, WakeForbidden, IdempotencyMismatch.
        """
        languages = (native, int(natively)) if native else ()
        verdict, *rest = await self._scripts.run(
            "task_dispatch", llm, task, self._replica, owner, frame, body, deadline_ms, *self._limits,
            priority, int(may_wake), keep.words() if keep else "", *languages,
        )
        if verdict == b"sent":
            return Dispatched("sent", channel=rest[0] if rest else b"")
        if verdict in (b"waiting", b"waking"):
            return Dispatched(verdict.decode(), int(rest[0]), int(rest[1]))
        if verdict == b"kept":
            return Dispatched("kept", task=rest[0].decode())
        if verdict == b"mismatch":
            raise IdempotencyMismatch()
        if verdict == b"virtual":
            return Dispatched("virtual", native=rest == [b"native"])
        if verdict == b"asleep":
            raise WakeForbidden(f"{llm!r} is asleep, and this token may not wake it; try again when it is awake.")
        shown = f"the tool server {llm.removeprefix(TOOLS)!r}" if llm.startswith(TOOLS) else repr(llm)
        if verdict == b"full":
            raise QueueFull(
                f"Too many requests wait for {shown}; try again in {int(rest[0])} s.", retry_after_s=int(rest[0])
            )
        if verdict == b"offline":
            raise PublisherOffline(f"publisher offline: nobody serves {shown} right now; try again when it is back")
        if verdict == b"public":
            return Dispatched("public", target=Target(llm, *(text.decode() for text in rest)))
        if llm.startswith(TOOLS):
            raise UnknownToolServer(f"There is no {shown.removeprefix('the ')}; GET /api/v1/tool-servers lists those that there are.")
        raise UnknownLLM(f"There is no LLM {llm!r}; GET /v1/models lists those that there are.")

    async def results(self, sid: str, owner: str, items: list[Item]) -> list[str]:
        """One word per item: 200 · cancelled · 404 · 409:<expected>. Raises UnknownSession."""
        args: list[object] = []
        for item in items:
            seq = "" if item.seq is None else item.seq
            args += (item.task, seq, item.count, item.flag, b"".join(item.parts), item.note)
        words = await self._scripts.run("task_results", sid, owner, self._accept_ms, self._stale_ms, *args)
        if words == [b"gone"]:
            raise UnknownSession()
        return [word.decode() for word in words]

    async def cancel(
        self, task: str, reason: str, *, owner: str = "", refusal: bytes = b"", unwritten: bool = False, whole: bool = False
    ) -> bool:
        """Stops a request wherever it is. ``unwritten``: dispatch was never heard out, so no frame was
        written here. ``whole``: ``task`` is the request's first attempt, and whichever runs is meant. False: there is
        none (for that owner)."""
        args = (task, reason, owner, refusal, self._accept_ms, int(unwritten), int(whole))
        return await self._scripts.run("task_cancel", *args) != b"gone"

    async def look(self, task: str, *, owner: str = "") -> Standing | None:
        """Where a request is, by the attempt that is under way; None: there is none (of that owner's; '' is anybody's)."""
        found = await self._scripts.run("request_look", task, owner)
        if not found:
            return None
        state, llm, priority, place, seconds = found
        return Standing(state.decode(), llm.decode(), priority.decode(), int(place), int(seconds))

    async def request(self, sid: str, owner: str, task: str) -> bytes:
        """The body of a request that was too large for its frame. Raises UnknownTask."""
        body = await self._scripts.run("task_request", sid, owner, task)
        if not body:
            raise UnknownTask()
        return body
