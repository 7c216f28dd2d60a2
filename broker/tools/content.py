"""A tool's result, as text that an LLM can read.

Texts are joined. What is no text (images, sound, files) is named with its type and size, never sent. A result
that is larger than allowed is cut, and says how much is missing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

_encode = msgspec.json.encode


class ToolAnswer(NamedTuple):
    """What the LLM gets for its call. ``is_error``: the tool, or the way to it, failed."""

    content: str
    is_error: bool = False


def answer_of(result: dict, limit: int) -> ToolAnswer:
    """Of an MCP tool result (``content``, ``structuredContent``, ``isError``), in at most ``limit`` bytes and a note."""
    blocks = result.get("content")
    pieces = [_told(block) for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    structured = result.get("structuredContent")
    has_text = any(isinstance(block, dict) and _text(block) for block in blocks or ()) if pieces else False
    if structured is not None and not has_text:
        pieces.append(_encode(structured).decode())
    text = "\n".join(piece for piece in pieces if piece)
    is_error = result.get("isError") is True
    if not text:
        text = "The tool failed and does not say why." if is_error else "The tool answered nothing."
    return ToolAnswer(cut(text, limit), is_error)


def cut(text: str, limit: int) -> str:
    """The text in UTF-8 of at most ``limit`` bytes, with a note when some was cut off."""
    if len(text) * 4 <= limit:
        return text
    whole = text.encode("utf-8", "replace")
    if len(whole) <= limit:
        return text
    kept = whole[:limit].decode("utf-8", "ignore")
    return f"{kept}\n[cut: {len(whole) - limit:,} of {len(whole):,} bytes are missing; ask for less at a time]"


def _told(block: dict) -> str:
    kind = block.get("type")
    if kind == "text":
        return _text(block)
    if kind in ("image", "audio"):
        return f"[{kind}: {_word(block.get('mimeType'))}, {_size(_decoded(block.get('data')))}, not shown]"
    if kind == "resource" and isinstance(inner := block.get("resource"), dict):
        if text := inner.get("text"):
            return f"[resource {_word(inner.get('uri'))}: {_word(inner.get('mimeType'))}]\n{text}"
        return f"[resource {_word(inner.get('uri'))}: {_word(inner.get('mimeType'))}, {_size(_decoded(inner.get('blob')))}, not shown]"
    if kind == "resource_link":
        size = f", {_size(block['size'])}" if _is_count(block.get("size")) else ""
        return f"[link {_word(block.get('uri'))}: {_word(block.get('name'))}, {_word(block.get('mimeType'))}{size}, not shown]"
    return f"[{_word(kind)}: not shown]"


def _text(block: dict) -> str:
    inner = block.get("resource") if block.get("type") == "resource" else block
    text = inner.get("text") if isinstance(inner, dict) else None
    return text if isinstance(text, str) else ""


def _decoded(base64: Any) -> int:
    """The bytes that a base64 text stands for."""
    return len(base64.rstrip("=")) * 3 // 4 if isinstance(base64, str) else 0


def _is_count(value: Any) -> bool:
    """Whether it may be a number of bytes; a server may say any."""
    return type(value) is int and 0 <= value < 1 << 63


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 10_000 else f"{count / 1024:,.0f} KiB"


def _word(value: Any) -> str:
    """A name out of a result; it may be anything."""
    return value[:300] if isinstance(value, str) and value else "unknown"
