"""What goes to the broker in one POST: lines, and how many bytes of them.

On a slow uplink the same large POST would run out of time for ever; half as much
gets through. It only says how much: it never sends, and never reorders a line.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from broker.wire import Result
from publisher.link.outgoing import Outgoing

log = logging.getLogger("publisher")

FLOOR_BYTES = 64 << 10


class Line(NamedTuple):
    out: Outgoing
    frame: Result
    text: bytes


class BatchLimit:
    def __init__(self, most_bytes: int) -> None:
        self.bytes = most_bytes
        self._most_bytes = most_bytes

    def part(self, batch: list[Line]) -> list[Line]:
        """The batch's first lines, up to the one that reaches the limit; always at least one."""
        size = 0
        for count, line in enumerate(batch, 1):
            size += len(line.text)
            if size >= self.bytes:
                return batch[:count]
        return batch

    def too_slow(self, sent: list[Line]) -> None:
        """Halves, unless what was sent is small already: its size was not the reason."""
        now = min(self.bytes, max(FLOOR_BYTES, min(self.bytes, _size(sent)) // 2))
        if _size(sent) > FLOOR_BYTES and now < self.bytes:
            self.bytes = now
            log.warning("the way to the broker is slow: results go in calls of %d KiB", now >> 10)

    def delivered(self, sent: list[Line]) -> None:
        """Grows back, but not on account of lines that prove nothing about larger ones."""
        if self.bytes < self._most_bytes and _size(sent) >= self.bytes:
            self.bytes = min(self._most_bytes, self.bytes * 2)


def _size(lines: list[Line]) -> int:
    return sum(len(line.text) for line in lines)
