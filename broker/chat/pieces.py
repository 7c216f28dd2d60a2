"""What is heard of an agent's answer while it comes, piece by piece, and what is known at its end.

Shapes only. A message in here is OpenAI's, as JSON bytes; nobody parses it again.
"""

from __future__ import annotations

from msgspec import Struct


class Text(Struct, frozen=True):
    """The next words."""

    text: str


class Reasoning(Struct, frozen=True):
    """The next thoughts, of LLMs that tell them."""

    text: str


class ToolCall(Struct, frozen=True):
    """A whole call. ``id`` is another one for each call of an answer; ``arguments``: JSON, as the LLM wrote it."""

    id: str
    name: str
    arguments: str


class ToolResult(Struct, frozen=True):
    """What a call gave; ``is_error``: why it gave nothing. ``name`` and ``id`` are the call's."""

    id: str
    name: str
    content: str
    is_error: bool


class Warn(Struct, frozen=True):
    """Something that is missing and that the answer goes on without: a tool server that is away."""

    message: str


Piece = Text | Reasoning | ToolCall | ToolResult | Warn


class Outcome(Struct, frozen=True):
    """What a run of the loop made.

    ``messages``: assistant (with tool_calls), tool …, and last the final assistant's. ``usage``: OpenAI's counts, the
    sum of all the LLM's answers; None: none was told. ``calls``: those of the caller's own tools, which end a run.
    """

    messages: list[bytes]
    finish_reason: str
    usage: dict | None
    model: str
    calls: tuple[ToolCall, ...] = ()
