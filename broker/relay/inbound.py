"""Result frames as publishers send them, made into items for the results script.

A frame that makes no sense is refused by itself; its neighbours go on. What
comes from a backend is put into SSE by us, so that none can forge an event.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

import msgspec

from broker.store.tasks import Item
from broker.wire import Chunk, Result

from .parts import DONE, failure, head, part

#: Nothing but data lines: such text goes on as it is.
_PLAIN_EVENTS = re.compile(rb"(?:data: [^\r\n]*\n\n)*")
_HEADERS = re.compile(
    r"content-type|retry-after|(?:x|anthropic)-ratelimit-[a-z0-9-]+|openai-[a-z0-9-]+|x-should-retry|request-id"
)
_STATUS = {
    "wake_failed": 503, "publisher_offline": 503, "not_published": 503, "backend_unreachable": 502,
    "backend_error": 502, "deadline": 504, "cancelled": 499, "unsupported_operation": 400,
}


class BadFrame(ValueError):
    """A frame that makes no sense; the message says what is wrong."""

    task_id = ""


def items(results: list[Result | BadFrame]) -> list[Item]:
    """Frames as items: those of one task that follow one another become one. ``lines`` says which
    frames an item stands for; frames that are BadFrame already are in none."""
    made: list[Item] = []
    last: dict[str, Item] = {}
    for line, result in enumerate(results):
        if isinstance(result, BadFrame):
            continue
        try:
            flag, parts, note = _read(result)
        except BadFrame as error:
            error.task_id = result.task_id
            results[line] = error
            continue
        before = last.get(result.task_id)
        if before is not None and before.flag == "c" and flag != "a" and _follows(before, result.seq):
            before.parts.append(parts)
            before.count += 1
            before.flag = flag
            before.note = note
            before.lines.append(line)
            continue
        item = Item(result.task_id, result.seq, 1, flag, [parts], note, [line])
        made.append(item)
        if flag != "a":
            last[result.task_id] = item
    return made


def _follows(before: Item, seq: int | None) -> bool:
    if before.seq is None:
        return seq is None
    return seq == before.seq + before.count


def _read(result: Result) -> tuple[str, bytes, str]:
    """(flag, parts, note) of one frame."""
    if result.accept:
        return "a", b"", ""
    if result.error is not None:
        code = result.code or "backend_error"
        return "e", failure(_STATUS.get(code, 502), code, result.error), f"!{result.error}"
    if result.chunk is not None:
        flag, parts = _chunk(result.chunk)
        if result.status is not None:
            parts = head(_status(result.status), kept_headers(result.headers)) + parts
        return flag, parts, "ok"
    if result.status is None:
        raise BadFrame("a result has one of: status, chunk, error")
    first = head(_status(result.status), kept_headers(result.headers, whole=True))
    body = _body(result)
    if body is None:
        if result.headers is not None:
            return "c", head(_status(result.status), kept_headers(result.headers)), ""
        body = b""
    note = "ok" if 200 <= result.status < 300 else f"!the publisher answered {result.status}: {body[:500].decode(errors='replace')}"
    return "e", first + part(b"C", body) + DONE, note


def _chunk(chunk: Chunk) -> tuple[str, bytes]:
    text = b""
    if chunk.events is not None:
        text = _encoded(chunk.events)
        if not _PLAIN_EVENTS.fullmatch(text):
            raise BadFrame("chunk.events holds whole events only, each `data: <payload>` and an empty line")
    elif chunk.data is not None:
        text = event(_encoded(chunk.data))
    parts = part(b"C", text) if text else b""
    return ("e", parts + DONE) if chunk.done else ("c", parts)


def event(payload: bytes) -> bytes:
    """One SSE event. A payload of several lines is several data lines, as the SSE standard has it."""
    if b"\n" in payload or b"\r" in payload:
        lines = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        return b"".join(b"data: %s\n" % line for line in lines) + b"\n"
    return b"data: %s\n\n" % payload


def _body(result: Result) -> bytes | None:
    if result.body_base64 is not None:
        try:
            return base64.b64decode(result.body_base64, validate=True)
        except binascii.Error:
            raise BadFrame("bodyBase64 is not base64") from None
    raw = bytes(result.body)
    if not raw:
        return None
    if raw.startswith(b'"'):
        return _encoded(msgspec.json.decode(raw, type=str))
    return raw


def _encoded(text: str) -> bytes:
    # JSON can spell half a surrogate pair; UTF-8 cannot.
    return text.encode("utf-8", "replace")


def _status(status: int) -> int:
    if not 200 <= status <= 599:
        raise BadFrame("status must be from 200 to 599")
    return status


def kept_headers(headers: Mapping[str, str] | None, *, whole: bool = False) -> dict[str, str]:
    """Those headers of an answer that its caller gets, and always a content type."""
    kept = {
        name.lower(): value.translate(_NO_BREAKS)
        for name, value in (headers or {}).items()
        if _HEADERS.fullmatch(name.lower())
    }
    kept.setdefault("content-type", "application/json" if whole else "text/event-stream; charset=utf-8")
    return kept


_NO_BREAKS = dict.fromkeys([*range(32), 127])
