"""How a line of a batch ended, as a line: of the output file if it was answered with success, else of the errors'.

A line's own number stands in its id, so that what was written down can be told apart later.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from broker.dialects.broken import BrokenAnswer
from broker.dialects.responses_stream import EventWriter
from broker.relay.answered import Answered

from .orders import LineRefused, Order

_encode = msgspec.json.Encoder().encode
_ID = re.compile(rb'\{"id":"batch_req_[0-9a-f]+_([0-9]+)"')


class Outcome(NamedTuple):
    """``line`` ends in a line break."""

    number: int
    succeeded: bool
    line: bytes


def answered(batch: str, order: Order, request: str, reply: Answered) -> Outcome:
    """What the LLM, or its server, answered: ``reply`` has a head."""
    status, body = reply.head.status, reply.body
    if status < 400 and order.response is not None:
        writer = EventWriter(order.response)
        try:
            writer.say_whole(body)
            writer.close()
        except BrokenAnswer as broken:
            return failed(batch, order.number, order.custom_id, "backend_error", str(broken))
        body = _encode(writer.response)
    response = {"status_code": status, "request_id": request, "body": _json(body)}
    line = {"id": _id(batch, order.number), "custom_id": order.custom_id, "response": response, "error": None}
    return Outcome(order.number, status < 400, _encode(line) + b"\n")


def refused(batch: str, number: int, why: LineRefused) -> Outcome:
    return failed(batch, number, why.custom_id, why.code, str(why), line=number)


def failed(batch: str, number: int, custom_id: str, code: str, message: str, *, line: int | None = None) -> Outcome:
    """A line without an answer. ``line``: which one, where its custom_id may not tell."""
    error: dict[str, object] = {"code": code, "message": message}
    if line is not None:
        error["line"] = line
    said = {"id": _id(batch, number), "custom_id": custom_id or None, "response": None, "error": error}
    return Outcome(number, False, _encode(said) + b"\n")


def number_of(line: bytes) -> int | None:
    """Which line of the batch an outcome is of; None for what is no whole outcome."""
    found = _ID.match(line)
    return int(found[1]) if found and line.endswith(b"}") else None


def _id(batch: str, number: int) -> str:
    return f"batch_req_{batch.removeprefix('batch_')}_{number}"


def _json(body: bytes) -> object:
    """A body as it stands in a line: JSON as it came, on one line, and what is none as text."""
    try:
        msgspec.json.decode(body)
        return msgspec.Raw(body.translate(_ONE_LINE))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body.decode(errors="replace")


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
