"""What an LLM answered, as a person reads it: the text of a completion, whole or from a stream's events. It asks nobody."""

from __future__ import annotations

import json

from .spoken import text_of


def text(content_type: str, body: bytes) -> str:
    """The words of an answer; what has none (embeddings, an error, nothing but calls of tools) as it came."""
    said = body.decode("utf-8", "replace")
    events = [line.removeprefix("data:").strip() for line in said.splitlines() if line.startswith("data:")]
    pieces = events if content_type == "text/event-stream" else [said]
    words = "".join(words_of(piece) for piece in pieces if piece != "[DONE]")
    return words or said


def words_of(piece: str) -> str:
    """Of one answer, or one event of a stream."""
    choices = (_read(piece) or {}).get("choices")
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    return "".join(_words(choice) for choice in found)


def refusal(body: bytes) -> str:
    """Why an LLM refused, in its words."""
    error = (_read(body.decode("utf-8", "replace")) or {}).get("error")
    said = error.get("message") if isinstance(error, dict) else error
    return str(said or body.decode("utf-8", "replace"))


def _words(choice: dict) -> str:
    if "text" in choice:
        return str(choice["text"] or "")
    message = choice.get("delta") or choice.get("message")
    return text_of(message.get("content")) if isinstance(message, dict) else ""


def _read(text: str) -> dict | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
