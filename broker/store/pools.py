"""Pools: LLMs that are asked by one name. A request given to the best member, how a member did with it, and why.

Rows of pools are in ``pool_rows.py``. Each decision is one script.
"""

from __future__ import annotations

import msgspec

from broker.errors import IdempotencyMismatch, PublisherOffline, QueueFull, WakeForbidden
from broker.model import Target, iso
from broker.unknown import UnknownLLM

from .kept import Keep
from .scripts import Scripts
from .tasks import Dispatched

class Choice(msgspec.Struct, frozen=True):
    """What a choice goes by. ``request``: what its client knows the request by. ``affinity``: digest of the conversation, ''
    for none. ``left_out``: members that failed the request. ``kinds``: what the name may be of, in this order: a (alias),
    p (pool), m (model)."""

    request: str
    affinity: str = ""
    left_out: tuple[str, ...] = ()
    kinds: str = "apm"


class Pools:
    def __init__(
        self, scripts: Scripts, replica: str, *, accept_ms: int, stale_ms: int, expire_ms: int,
        lease_grace_ms: int, wake_limit_ms: int, queue_length: int, queue_bytes: int,
    ):
        self._scripts = scripts
        self._replica = replica
        self._accept_ms = accept_ms
        self._limits = (lease_grace_ms, queue_length, queue_bytes, wake_limit_ms, accept_ms, stale_ms, expire_ms)

    async def dispatch(
        self, asked: str, task: str, choice: Choice, *, owner: str, frame: bytes, tail: bytes, body: bytes, deadline_ms: int,
        priority: str = "interactive", may_wake: bool = True, keep: Keep | None = None,
    ) -> Dispatched:
        """Gives a request to a member of the pool that ``asked`` names.

        ``frame`` is the JSON up to ``"llmName":``, ``tail`` from the comma behind the name to ``"deadlineMs":``, ``body``
        what is too large for it. Raises UnknownLLM, PublisherOffline, QueueFull, WakeForbidden, IdempotencyMismatch.
        """
        left_out = "\n%s\n" % "\n".join(choice.left_out) if choice.left_out else ""
        verdict, *rest = await self._scripts.run(
            "pool_dispatch", asked, task, self._replica, owner, frame, tail, body, deadline_ms, *self._limits,
            priority, int(may_wake), keep.words() if keep else "", choice.affinity, left_out, choice.request, choice.kinds,
        )
        if verdict == b"sent":
            llm, why, channel = rest
            return Dispatched("sent", channel=channel, llm=llm.decode(), why=why.decode())
        if verdict in (b"waiting", b"waking"):
            return Dispatched(verdict.decode(), int(rest[0]), int(rest[1]))
        if verdict == b"public":
            llm, why, *target = (text.decode() for text in rest)
            return Dispatched("public", target=Target(llm, *target), llm=llm, why=why)
        if verdict == b"kept":
            return Dispatched("kept", task=rest[0].decode())
        if verdict == b"mismatch":
            raise IdempotencyMismatch()
        if verdict == b"full":
            raise QueueFull(f"Too many requests wait for {asked!r}; try again in {int(rest[0])} s.", retry_after_s=int(rest[0]))
        if verdict == b"asleep":
            raise WakeForbidden(f"Whoever serves {asked!r} is asleep, and this token may not wake it; try again when it is awake.")
        if verdict == b"offline":
            seen = f"; the last was seen at {iso(rest[0].decode())}" if rest[0] else ""
            raise PublisherOffline(f"publisher offline: nobody serves {asked!r} right now{seen}")
        raise UnknownLLM(f"There is no LLM {asked!r}; GET /v1/models lists those that there are.", param="model")

    async def report(self, llm: str, outcome: str, request: str, task: str, *, why: str = "") -> None:
        """How a member did with an attempt of a request: ok · failed (counts against it) · lost (does not). ``why``: what went wrong."""
        await self._scripts.run("pool_report", llm, outcome, why, request, task, self._accept_ms)

    async def explained(self, request: str) -> list[dict]:
        """What was decided for a request, in order; nothing for one that asked no pool, or long ago."""
        return [msgspec.json.decode(text) for text in await self._scripts.run("pool_explained", request)]
