"""What agents are to durable tasks: the request that an attempt makes in their name, or the loop in which they use their tools.

An attempt that is a loop is one answer, kept as another's is. Who may begin one, and when, is not decided here.
"""

from __future__ import annotations

import asyncio

from broker.errors import BadRequest, Refusal
from broker.model import Persona
from broker.relay.call import Call
from broker.relay.exchange import Exchange
from broker.relay.keeper import Pen
from broker.relay.parts import failure
from broker.relay.post import Post
from broker.relay.relay import Relay

from .block import as_persona
from .looped import Looped, Toolboxes, has_tools


class Attempts:
    """``max_iterations`` and ``answer_bytes``: of one attempt."""

    def __init__(self, relay: Relay, post: Post, toolboxes: Toolboxes, *, max_iterations: int, answer_bytes: int):
        self._relay = relay
        self._post = post
        self._toolboxes = toolboxes
        self._most = {"max_iterations": max_iterations, "answer_bytes": answer_bytes}
        self._loops: set[asyncio.Task] = set()

    def request(self, call: Call, persona: Persona) -> bytes | None:
        """What the agent's LLM is asked; None: it is asked in a loop, by ``start``. Raises BadRequest."""
        if call.operation != "chat":
            raise BadRequest(f"{persona.agent!r} is an agent, which only chats: it has no {call.operation}.")
        if not has_tools(persona):
            return as_persona(call.body, persona)
        self._looped(call, persona).read(call, "")
        return None

    def start(self, pen: Pen, call: Call, llm: str, task: str, persona: Persona) -> asyncio.Task:
        """Runs the loop of an attempt at that LLM. ``call.llm``: whom the task asks. Each ask is a request with a name of its
        own, of which the scripts know the first (lua/shared/attempts.lua)."""
        looped = self._looped(call, persona)
        call = Call(llm, call.operation, call.body, call.streaming, call.owner, call.patience, call.priority, call.may_wake)
        loop = asyncio.create_task(looped.answer(_Kept(pen), *looped.read(call, f"{task}.ask")))
        self._loops.add(loop)
        loop.add_done_callback(self._loops.discard)
        return loop

    async def close(self) -> None:
        """Stops the loops that still run; others run them anew."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def _looped(self, call: Call, persona: Persona) -> Looped:
        return Looped(self._relay, self._post, self._toolboxes, persona, call.llm, **self._most)


class _Kept:
    """The answer of an attempt, as it is kept."""

    def __init__(self, pen: Pen):
        self.put = pen.put

    def asks(self, exchange: Exchange) -> None:
        """Where the first ask stands, the scripts tell."""

    def refuse(self, refusal: Refusal) -> None:
        self.put(failure(refusal.status, refusal.code, refusal.message))
