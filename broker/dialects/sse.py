"""Reads server-sent events: bytes in, whole events out, each ``data: payload\\n\\n``.

A well-formed stream passes through as it came, one regular expression per read.
Everything else (CR, CRLF, comments, other fields, ``data:`` without its space,
data over several lines, a byte order mark) is parsed and written anew, so that a
backend can produce nothing but data. It cuts only at the end of an event, so a
character split over two reads is never torn.
"""

from __future__ import annotations

import re

PLAIN = re.compile(rb"(?:data: [^\r\n]*\n\n)+")
DONE = b"data: [DONE]\n\n"
MARK = b"\xef\xbb\xbf"


class EventTooLarge(Exception):
    pass


class EventReader:
    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._parts: list[bytes] = []  # the begin of an event that is not complete yet
        self._held = 0
        self._skip_lf = False
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """The events that ``data`` completes, or nothing."""
        if self._skip_lf or b"\r" in data:
            data = self._with_lf(data)
        if self._parts:
            if b"\n" not in data:  # the middle of a large event: joined once, at its end
                self._hold(data)
                return b""
            self._parts.append(data)
            data = b"".join(self._parts)
            self._parts.clear()
            self._held = 0
        cut = data.rfind(b"\n\n") + 2
        if cut < 2:
            self._hold(data)
            return b""
        if cut < len(data):
            self._hold(data[cut:])
            data = data[:cut]
        if not self._begun:
            self._begun = True
            data = data.removeprefix(MARK)
        return data if PLAIN.fullmatch(data) else _rewritten(data)

    def rest(self) -> bytes:
        """At the stream's end: a last event whose blank line is missing. Empty when it is torn."""
        held = b"".join(self._parts)
        if held.endswith(b"\n") or held.strip() == DONE.strip():
            return self.feed(b"\n\n")
        return b""

    @property
    def torn(self) -> bool:
        return self._held > 0

    def _hold(self, data: bytes) -> None:
        self._held += len(data)
        if self._held > self._limit_bytes:
            raise EventTooLarge
        if data:
            self._parts.append(data)

    def _with_lf(self, data: bytes) -> bytes:
        if self._skip_lf and data.startswith(b"\n"):  # the other half of a CRLF split over two reads
            data = data[1:]
        elif not data:
            return data
        self._skip_lf = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def payloads(block: bytes) -> list[bytes]:
    """What the events of a block carry."""
    return [event[6:] for event in block.split(b"\n\n") if event]


def end_of_done(block: bytes) -> int:
    """Where ``[DONE]`` ends in a block, 0 when it is not there."""
    if block.startswith(DONE):
        return len(DONE)
    at = block.find(b"\n" + DONE)
    return at + 1 + len(DONE) if at >= 0 else 0


def _rewritten(block: bytes) -> bytes:
    events = []
    for event in block.split(b"\n\n"):
        lines = [_value(line) for line in event.split(b"\n") if line == b"data" or line.startswith(b"data:")]
        if lines:
            # One line per event is all we send on. JSON, the only payload here,
            # may have a space wherever it had a line break.
            events.append(b"data: " + b" ".join(lines) + b"\n\n")
    return b"".join(events)


def _value(line: bytes) -> bytes:
    return line[5:].removeprefix(b" ")
