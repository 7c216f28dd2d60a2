"""Ids of a kept stream's events: ``<entry>-<k>``, the k-th event in that entry of its reply.

They depend on nothing but what is kept, so whoever reads it again gives every event the id that it had, and one who
knows the last id that it saw gets none twice and misses none. Events without an id are not part of the stream.
"""

from __future__ import annotations

import re

from broker.store.kept import START, Place

from .parts import Head

_ID = re.compile(r"([0-9]{1,16})-([0-9]{1,16})-([0-9]{1,9})")


class BadEventId(ValueError):
    """Not an id that an event could have."""


class Numbering:
    """``after``: the id of the last event that the client has; '' for none. ``prefix``: what each id begins with besides.
    Raises BadEventId."""

    def __init__(self, after: str = "", *, prefix: bytes = b""):
        self._prefix = prefix
        #: Where the reading of what is kept must begin.
        self.start = START
        #: The last event that came, given out or not.
        self.last = b""
        self._seen: tuple[bytes, int] = (b"", 0)
        self._entry = b""
        self._k = 0
        #: Whether the reply has events.
        self.on = True
        if after:
            found = _ID.fullmatch(after)
            if not found:
                raise BadEventId(after)
            ms, number, k = found.groups()
            self.start = Place(int(ms), int(number)).before() if int(ms) else START
            self._seen = (f"{ms}-{number}".encode(), int(k))

    @property
    def seen(self) -> bytes:
        """The entry of the last event that the client has; empty for none."""
        return self._seen[0]

    def enter(self, entry: bytes) -> None:
        """What comes now is from that entry."""
        self._entry = entry
        self._k = 0

    def begin(self, head: Head) -> None:
        """A reply with that head comes. Only events have ids, not an answer in one piece."""
        content = head.headers.get("content-type", "text/event-stream")
        self.on = head.status < 400 and content.startswith("text/event-stream")

    def marked(self, events: bytes) -> bytes:
        """Whole events with their ids, without those that the client has."""
        if not self.on:
            return events
        return b"".join(self._marked(event) for event in events.split(b"\n\n")[:-1])

    def _marked(self, event: bytes) -> bytes:
        self._k += 1
        self.last = event + b"\n\n"
        if self._entry == self._seen[0] and self._k <= self._seen[1]:
            return b""
        return b"id: %s%s-%d\n%s\n\n" % (self._prefix, self._entry, self._k, event)
