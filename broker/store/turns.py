"""Turns that run: begun, written, ended, cancelled; and which of them a replica runs. One script each.

Every write of a turn is fenced by the token that it began with, so that a replica which was taken for dead changes
nothing any more. A batch may be sent again when its answer was lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.chat_errors import AgentGone, ThreadTooLong, TurnRunning, UnknownThread, UnknownTurn
from broker.errors import WakeForbidden
from broker.threads import Begun

from .agents import read_persona
from .scripts import Scripts

#: Most that a thread keeps, with what failed: so many times what an LLM may be sent, and so many messages.
_TIMES, _MESSAGES = 4, 50_000


@dataclass(frozen=True, slots=True)
class Batch:
    """What a turn brought. ``first``: the number of its first event, ``count``: how many messages the thread has before it.
    Events are (name, data)."""

    first: int
    count: int
    messages: list[bytes]
    events: list[tuple[str, bytes]]

    def arguments(self) -> list[object]:
        flat: list[object] = [self.first, self.count, len(self.messages), *self.messages]
        for event in self.events:
            flat += event
        return flat


class Turns:
    def __init__(self, scripts: Scripts, replica: str, *, keep_ms: int, stale_ms: int, expire_ms: int):
        self._scripts = scripts
        self._replica = replica
        self._keep_ms = keep_ms
        self._ages = (stale_ms, expire_ms)

    async def begin(
        self, thread: str, owner: str, token: str, said: bytes, *, personality: str | None, limit_bytes: int,
        may_wake: bool = True,
    ) -> Begun:
        """Begins a turn with a user's message, ``said``: its JSON from ``"role"`` on. ``personality``: None is the agent's
        own, '' none. Raises UnknownThread, TurnRunning, ThreadTooLong, AgentGone, WakeForbidden and what ``read_persona``
        raises; then nothing was kept."""
        verdict, *rest = await self._scripts.run(
            "turn_begin", thread, owner, token, self._replica, said, int(personality is not None), personality or "",
            limit_bytes, self._keep_ms, *self._ages, _TIMES * limit_bytes, _MESSAGES, int(may_wake),
        )
        if verdict == b"unknown":
            raise UnknownThread(f"There is no thread {thread[:100]!r} of yours; GET /api/v1/threads lists those that there are.")
        if verdict == b"running":
            turn = int(rest[0])
            raise TurnRunning(
                f"Turn {turn} of this thread is running; wait for its end (GET /api/v1/threads/{thread}/turns/{turn}/events), "
                "or cancel it (DELETE the turn)."
            )
        if verdict == b"full":
            raise ThreadTooLong(
                f"The thread keeps {int(rest[1]):,} messages of {int(rest[0]):,} bytes, with those of turns that failed; "
                f"{_MESSAGES:,} and {_TIMES * limit_bytes:,} ({_TIMES} times BROKER_MAX_REQUEST_BYTES) are the most. Begin another thread."
            )
        if verdict == b"too_long":
            raise ThreadTooLong(
                f"The thread has become too long: an LLM would be sent {int(rest[0]):,} bytes, and {limit_bytes:,} are the most "
                "(BROKER_MAX_REQUEST_BYTES). Begin another thread."
            )
        if verdict == b"refused":
            agent, why, *told = rest
            if why == b"unknown":
                raise AgentGone(f"The agent {agent.decode()!r} of this thread is gone; the thread goes on when there is one of that name again.")
            read_persona(agent.decode(), why, told)
        if verdict == b"asleep":
            raise WakeForbidden(f"{rest[0].decode()!r}, which answers in this thread, is asleep, and this token may not wake it; try again when it is awake.")
        turn, now_ms, count, agent, told, before, asked = rest
        persona = read_persona(agent.decode(), b"agent", told)
        return Begun(thread, int(turn), token, int(now_ms), count, persona, before, asked)

    async def write(self, begun: Begun, batch: Batch, *, hold_ms: int) -> str:
        """ok · cancelled (written, but somebody wants the turn to stop) · lost (others ended it) · gone (with its thread).
        ``hold_ms``: how long its events stay if nobody ends it."""
        word = await self._scripts.run("turn_write", begun.thread, begun.token, hold_ms + self._keep_ms, *batch.arguments())
        return word.decode()

    async def end(self, begun: Begun, batch: Batch, error: bytes) -> str:
        """ok · lost (others ended it otherwise) · gone. ``error``: JSON; empty: the turn is complete."""
        word = await self._scripts.run("turn_end", begun.thread, begun.token, begun.turn, error, *batch.arguments())
        return word.decode()

    async def cancel(self, thread: str, owner: str, turn: int) -> str:
        """Asks for the end of a turn; the answer is its token, '' when it has ended. Raises UnknownThread, UnknownTurn."""
        verdict, *rest = await self._scripts.run("turn_cancel", thread, owner, turn)
        if verdict == b"unknown":
            raise UnknownThread(f"There is no thread {thread[:100]!r} of yours; GET /api/v1/threads lists those that there are.")
        if verdict == b"no_turn":
            raise UnknownTurn(f"The thread {thread!r} has no turn {turn}.")
        return rest[0].decode() if rest else ""

    async def held(self, turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Tells which turns (thread, token) this replica runs, and hears (token, word) of those that are to stop: cancelled ·
        lost · gone. Others that Redis thinks it runs are ended."""
        flat = [text for pair in turns for text in pair]
        news = [text.decode() for text in await self._scripts.run("turns_held", self._replica, 1000, *flat)]
        return list(zip(news[::2], news[1::2], strict=True))
