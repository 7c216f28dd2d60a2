"""A kept reply that has ended, read whole: how it was answered, or why it was not."""

from __future__ import annotations

from typing import NamedTuple

from .parts import Failure, Head, read_failure, read_head, split


class Answered(NamedTuple):
    """``failure`` None: the body is all that there is. Without a ``head`` nothing came."""

    head: Head | None
    body: bytes
    failure: Failure | None

    @property
    def in_pieces(self) -> bool:
        """Whether the body is a stream's."""
        return self.head is not None and self.head.status < 400 and is_stream(self.head)


def is_stream(head: Head) -> bool:
    return head.headers.get("content-type", "text/event-stream").startswith("text/event-stream")


def read_answered(parts: bytes) -> Answered:
    """What these parts say; an end that is missing is no failure here."""
    head: Head | None = None
    failure: Failure | None = None
    body: list[bytes] = []
    for letter, content in split(parts):
        if letter == "C":
            body.append(content)
        elif letter == "H":
            head = head or read_head(content)
        elif letter == "E":
            failure = read_failure(content)
    # A stream may begin without a head.
    return Answered(head or (Head(200) if body else None), b"".join(body), failure)
