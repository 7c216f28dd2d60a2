"""Runs of the loop in which an agent uses its tools, with the tools of a test and an LLM that the test plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec

from broker.chat.loop import Question, converse
from broker.chat.pieces import Outcome, Piece
from broker.http.context import LIMITS
from tests.support.brokers import Replica
from tests.support.provider import Provider

ASK = {"role": "user", "content": "how warm is it in Rome?"}


class Answer(NamedTuple):
    content: str
    is_error: bool = False


@dataclass
class Box:
    """Tools that do what the test says: by name, what is called with the arguments."""

    does: dict[str, Callable[[dict], Awaitable[Answer]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    called: list[tuple[str, dict]] = field(default_factory=list)

    @property
    def specs(self) -> list[dict]:
        return [spec(name) for name in self.does]

    def has(self, name: str) -> bool:
        return name in self.does

    async def call(self, name: str, arguments: str, request_id: str) -> Answer:
        given = json.loads(arguments)
        self.called.append((name, given))
        return await self.does[name](given)


def spec(name: str) -> dict:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


def saying(text: str, *, is_error: bool = False) -> Callable[[dict], Awaitable[Answer]]:
    """A tool that says that."""

    async def answer(_: dict) -> Answer:
        return Answer(text, is_error)

    return answer


@dataclass
class Run:
    """One run: ``heard`` and ``said`` as they come, ``outcome`` at its end."""

    task: asyncio.Task[Outcome]
    heard: list[Piece]
    said: list[Any]

    async def outcome(self) -> Outcome:
        return await self.task


def conversing(
    broker: Replica, box: Box, *, streaming: bool = False, max_iterations: int = 8, deadline_s: float = 20.0,
    fields: dict | None = None, callers: tuple[str, ...] = (), **more,
) -> Run:
    """Asks the LLM ``m``."""
    patience = replace(broker.broker.app[LIMITS].patience, deadline_s=deadline_s)
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in (fields or {}).items()}
    question = Question(
        "m", "local", patience, "req_asked", raw, [json.dumps(ASK).encode()], streaming, max_iterations,
        frozenset(callers), **more,
    )
    heard: list[Piece] = []
    said: list[Any] = []
    run = converse(broker.broker.relay, box, question, heard.append, lambda message: said.append(json.loads(message)))
    return Run(asyncio.create_task(run), heard, said)


def calls(*named: tuple[str, str, str]) -> list[dict]:
    """Whole tool calls of a message: (id, name, arguments)."""
    return [{"id": one, "type": "function", "function": {"name": name, "arguments": given}} for one, name, given in named]


async def stream_to(provider: Provider, frame: dict, *chunks: str) -> None:
    for chunk in chunks:
        await provider.chunk(frame, chunk)
    await provider.chunk(frame, "[DONE]", done=True)
