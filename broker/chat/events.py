"""The events of a turn: which shape each has, and how it is said in SSE.

Text, reasoning, tool_call, tool_result, warning; the last is final or error. A number in a turn is an event's id in
SSE; what has the number 0 is of this connection only, and a client resumes from the id before it.
"""

from __future__ import annotations

import msgspec

from broker.errors import Refusal
from broker.store.turn_events import Event
from broker.threads import Turn

from .pieces import Piece, Reasoning, Text, ToolCall, ToolResult

_encode = msgspec.json.Encoder().encode


def of_piece(piece: Piece) -> tuple[str, bytes]:
    """The (name, data) of what was heard."""
    match piece:
        case Text():
            return "text", _encode({"text": piece.text})
        case Reasoning():
            return "reasoning", _encode({"text": piece.text})
        case ToolCall():
            return "tool_call", _encode({"id": piece.id, "name": piece.name, "arguments": piece.arguments})
        case ToolResult():
            shape = {"id": piece.id, "name": piece.name, "content": piece.content, "isError": piece.is_error}
            return "tool_result", _encode(shape)
        case _:
            return "warning", _encode({"message": piece.message})


def error_of(refusal: Refusal) -> bytes:
    """A refusal as JSON, as it is kept and shown."""
    return _encode({**refusal.shape()["error"], "status": refusal.status})


def failed(error: bytes) -> tuple[str, bytes]:
    """``error``: as ``error_of`` gives it."""
    return "error", b'{"error":%s}' % error


def complete(turn: Turn) -> tuple[str, bytes]:
    shape = {
        "threadId": turn.thread_id, "turnIndex": turn.turn_index, "status": turn.status, "message": turn.message,
        "finishReason": turn.finish_reason, "usage": turn.usage,
    }
    return "final", _encode(shape)


def last_of(turn: Turn) -> tuple[str, bytes]:
    """The last event of a turn that has ended, from what is kept of it."""
    return complete(turn) if turn.error is None else failed(bytes(turn.error))


def encoded(event: Event) -> bytes:
    """As it goes to a client."""
    number = b"id: %d\n" % event.number if event.number else b""
    return b"%sevent: %s\ndata: %s\n\n" % (number, event.name.encode(), event.data)
