"""What is kept of chat: threads, their messages and turns, and how they look to callers.

Shapes only. What users and LLMs wrote (contents, tool calls, usage) stays the JSON that it was and is never parsed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from broker.model import Persona, iso


class Thread(Struct, rename="camel"):
    """A thread as callers see it. ``running``: the turn that runs now."""

    id: str
    agent_id: str
    agent: str
    owner_id: str
    title: str
    last_turn_at: str | None
    created_at: str
    updated_at: str
    running: int | None

    @classmethod
    def read(cls, row: dict[str, str]) -> Thread:
        return cls(
            id=row["id"], agent_id=row["agentId"], agent=row["agent"], owner_id=row["owner"], title=row["title"],
            last_turn_at=iso(row.get("lastTurnAt")), created_at=iso(row["createdAt"]) or "",
            updated_at=iso(row["updatedAt"]) or "", running=int(row["runningIndex"]) if row.get("runningIndex") else None,
        )


class Kept(Struct, rename="camel", omit_defaults=True):
    """A message as Redis keeps it; ``lua/turn_begin.lua`` writes the user's. The first two fields stay the first two:
    scripts read them. ``created_at``: ms. The last two are of a turn's final message."""

    id: str
    turn_index: int
    created_at: int
    role: str
    content: Raw
    tool_calls: Raw | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    finish_reason: str | UnsetType = UNSET
    usage: Raw | UnsetType = UNSET


class Spoken(Struct, omit_defaults=True):
    """A message as LLMs are sent it and as they make it (OpenAI's)."""

    role: str
    content: Raw = Raw(b"null")
    tool_calls: Raw | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET


class Message(Struct, rename="camel"):
    """A message as callers see it. ``content``: a text, OpenAI's content parts, or null. ``status``: pending | complete |
    error; ``error`` says why, in the API's shape with its HTTP ``status``."""

    id: str
    thread_id: str
    turn_index: int
    role: str
    content: Any
    tool_calls: Any
    tool_call_id: str | None
    status: str
    created_at: str
    error: Any = UNSET


class Turn(Struct, rename="camel"):
    """A turn as callers see it. ``message``: the final assistant's, of a turn that is complete. ``warnings`` are told by
    the turn's own answer only."""

    thread_id: str
    turn_index: int
    status: str
    error: Any
    message: Message | None
    messages: list[Message]
    finish_reason: str | None
    usage: Any
    warnings: list[str] | UnsetType = UNSET


class Begun(NamedTuple):
    """A turn that has begun. ``token``: what its writes are fenced by. ``count``: how many messages the thread has, with
    the user's, which is ``asked``. ``before``: messages of earlier turns that went well. Messages are Kept, as JSON."""

    thread: str
    turn: int
    token: str
    now_ms: int
    count: int
    persona: Persona
    before: list[bytes]
    asked: bytes


_kept = msgspec.json.Decoder(Kept).decode
_spoken = msgspec.json.Decoder(Spoken).decode
_encode = msgspec.json.Encoder().encode


def to_send(kept: list[bytes]) -> list[bytes]:
    """Messages as an LLM is sent them."""
    return [
        _encode(Spoken(message.role, message.content, message.tool_calls, message.tool_call_id)) for message in map(_kept, kept)
    ]


def to_keep(spoken: bytes, *, id: str, turn: int, created_ms: int) -> Kept:
    """A message that an LLM or a tool made, to be kept."""
    message = _spoken(spoken)
    return Kept(id, turn, created_ms, message.role, message.content, message.tool_calls, message.tool_call_id)


def message_shown(thread: str, message: Kept, *, running: int | None, errors: dict[int, bytes]) -> Message:
    """``running``: the thread's turn that runs; ``errors``: why turns failed, as JSON."""
    error = errors.get(message.turn_index)
    status = "pending" if message.turn_index == running else "complete" if error is None else "error"
    return Message(
        message.id, thread, message.turn_index, message.role, message.content,
        None if message.tool_calls is UNSET else message.tool_calls,
        None if message.tool_call_id is UNSET else message.tool_call_id,
        status, iso(str(message.created_at)) or "", UNSET if error is None else Raw(error),
    )


def turn_shown(thread: str, turn: int, kept: list[bytes], *, running: int | None, error: bytes | None) -> Turn:
    """``kept``: all messages of that turn."""
    messages = [_kept(one) for one in kept]
    errors = {} if error is None else {turn: error}
    shown = [message_shown(thread, one, running=running, errors=errors) for one in messages]
    status = "pending" if running == turn else "complete" if error is None else "error"
    last = messages[-1] if messages and status == "complete" else None
    return Turn(
        thread, turn, status, None if error is None else Raw(error), shown[-1] if last else None, shown,
        None if last is None or last.finish_reason is UNSET else last.finish_reason,
        None if last is None or last.usage is UNSET else last.usage,
    )


def read_messages(thread: str, kept: list[bytes], *, running: int | None, errors: dict[int, bytes]) -> list[Message]:
    return [message_shown(thread, _kept(one), running=running, errors=errors) for one in kept]
