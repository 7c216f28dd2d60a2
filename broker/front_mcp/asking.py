"""One client's tool call, put to an agent: the same way as a call to the model ``agent/<name>``, without a stream; or
as the next turn of a thread.

It says what the agent is doing, for clients that wait; it opens no connection and speaks no protocol.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import msgspec

from broker.chat.block import merged, system_block
from broker.chat.loop import Question, converse
from broker.chat.listener import Listener
from broker.chat.pieces import Piece, ToolCall, Warn
from broker.chat.turns import Asked, Turns
from broker.chat_errors import TurnCancelled
from broker.errors import Conflict
from broker.model import AGENT_PREFIX, Agent
from broker.relay.exchange import Patience
from broker.relay.relay import Relay
from broker.store.agents import Agents
from broker.store.threads import Threads
from broker.tools.toolbox import Toolboxes

from .names import is_made, tool_name


class Answer(NamedTuple):
    """What the agent said. ``usage``: summed over its calls to the LLM, None if its server tells none."""

    text: str
    finish_reason: str
    usage: dict[str, Any] | None
    warnings: list[str]
    thread: str | None = None


class _Said(msgspec.Struct):
    """Of a message, what a tool's caller gets."""

    content: str | None = None


class _Called(msgspec.Struct):
    """Of the event of a tool call, what is told."""

    name: str


class Asking:
    """Made for one request of one caller. ``stirred`` is set whenever ``doing`` has become something else."""

    def __init__(
        self, agents: Agents, threads: Threads, relay: Relay, toolboxes: Toolboxes, turns: Turns, *,
        owner: str, patience: Patience, request_id: str, max_iterations: int, priority: str, may_wake: bool,
    ):
        self._agents = agents
        self._threads = threads
        self._relay = relay
        self._toolboxes = toolboxes
        self._turns = turns
        self._owner = owner
        self._patience = patience
        self._request_id = request_id
        self._max_iterations = max_iterations
        self._priority = priority
        self._may_wake = may_wake
        self.doing = "waiting for the agent"
        self.stirred = asyncio.Event()

    async def everybody(self) -> list[Agent]:
        return await self._agents.all()

    async def called(self, tool: str) -> Agent | None:
        """The agent that is a tool of that name."""
        rows = await (self._agents.all() if is_made(tool) else self._agents.named([tool]))
        return next((agent for agent in rows if tool_name(agent.name) == tool), None)

    async def ask(self, agent: str, message: str) -> Answer:
        """The agent's answer. Raises the Refusal that there is instead."""
        persona = await self._agents.persona(AGENT_PREFIX + agent)
        if persona is None:
            raise Conflict(f"An LLM has the name {AGENT_PREFIX + agent!r}, which comes before the agent.")
        tools = await self._toolboxes.open(persona.servers, persona.extras, self._owner)
        question = Question(
            llm=persona.llm, owner=self._owner, patience=self._patience, request_id=self._request_id,
            fields=merged(*persona.params), streaming=False, max_iterations=self._max_iterations,
            messages=[*system_block(persona.prompts), msgspec.json.encode({"role": "user", "content": message})],
            priority=self._priority, may_wake=self._may_wake,
        )
        warnings: list[str] = []

        def hear(piece: Piece) -> None:
            if isinstance(piece, Warn):
                warnings.append(piece.message)
            if isinstance(piece, ToolCall):
                self._calls(piece.name)

        outcome = await converse(self._relay, tools, question, hear, lambda _: None)
        said = msgspec.json.decode(outcome.messages[-1], type=_Said)
        return Answer(said.content or "", outcome.finish_reason, outcome.usage, warnings)

    async def go_on(self, agent: str, thread: str, message: str) -> Answer:
        """The same as the next turn of a thread of this caller and that agent. Unlike others this turn is its caller's: it
        is cancelled with the call, for MCP has no other way to say so."""
        row = await self._threads.thread(thread, self._owner)
        if row.agent != agent:
            raise Conflict(f"The thread {thread!r} is one with the agent {row.agent!r}.", param="thread")
        asked = Asked(
            thread=thread, owner=self._owner, request_id=self._request_id, content=msgspec.json.encode(message),
            streaming=False, personality=None, params={}, max_iterations=self._max_iterations, patience=self._patience,
            buffer_bytes=self._patience.buffer_bytes, priority=self._priority, may_wake=self._may_wake,
        )
        turn = await self._turns.start(asked)
        listener = turn.listen(self._patience.buffer_bytes)
        listening = asyncio.create_task(self._listen(listener))
        try:
            await turn.ended.wait()
        except asyncio.CancelledError:
            turn.stop(TurnCancelled())
            raise
        finally:
            turn.leave(listener)
            listening.cancel()
        if turn.shown is None:
            raise turn.refusal
        said, usage = turn.shown.message.content, turn.shown.usage
        return Answer(
            msgspec.json.decode(said) or "", turn.shown.finish_reason or "stop", usage and msgspec.json.decode(usage),
            turn.shown.warnings, thread,
        )

    async def _listen(self, listener: Listener) -> None:
        while events := await listener.next():
            for event in events:
                if event.name == "tool_call":
                    self._calls(msgspec.json.decode(event.data, type=_Called).name)

    def _calls(self, tool: str) -> None:
        self.doing = f"the agent calls {tool}"
        self.stirred.set()
