"""How a reply is said to the client: every front has a voice, and ``answers.py`` lets it speak.

A voice opens nothing and decides nothing. It gets what came from the LLM and
gives the bytes that go out; OpenAI's gives them as they came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from broker.dialects.broken import BrokenAnswer
from broker.dialects.openai_answer import error_in
from broker.dialects.sse import DONE
from broker.errors import BackendFailed
from broker.relay.exchange import Exchange
from broker.relay.inbound import event
from broker.relay.numbering import Numbering
from broker.relay.parts import Head


Said = TypeVar("Said")


class Voice(Protocol):
    """One per reply. ``translates``: nothing goes out as it came."""

    translates: bool

    def begin(self, exchange: Exchange) -> Voice:
        """The reply's exchange is open. Who speaks from now on: the LLM may speak the front's own language."""

    def head(self, head: Head) -> Head:
        """Status and headers of a stream."""

    def wait(self) -> bytes:
        """A sign of life for a client that waits."""

    def say(self, data: bytes) -> bytes:
        """For the next bytes of a stream, what goes out now. Raises BackendFailed."""

    def end(self) -> bytes:
        """The last bytes of a stream that is complete. Raises BackendFailed."""

    def fail(self, status: int, error: dict) -> bytes:
        """The last bytes of a stream that is not; ``error`` has a ``message``."""

    def whole(self, head: Head, body: bytes) -> tuple[Head, bytes]:
        """A whole answer, or the LLM's refusal. Raises BackendFailed."""

    def whole_in_stream(self, head: Head, body: bytes) -> bytes:
        """The same as a stream's only content. Raises BackendFailed."""


def spoken(say: Callable[..., Said], *given: bytes) -> Said:
    """What a dialect makes of an answer. Raises BackendFailed for what it cannot read."""
    try:
        return say(*given)
    except BrokenAnswer as broken:
        raise BackendFailed(str(broken)) from None


class AsItCame:
    """OpenAI's voice. A stream ends in ``[DONE]``, also when the LLM's server sent none."""

    translates = False

    def __init__(self) -> None:
        self._tail = b""
        self._exchange: Exchange | None = None

    def begin(self, exchange: Exchange) -> Voice:
        self._exchange = exchange
        return self

    def head(self, head: Head) -> Head:
        return head

    def wait(self) -> bytes:
        """A comment; with the place in line, if the request is in one."""
        if not self._exchange or not self._exchange.place:
            return b": waiting\n\n"
        return b": waiting, place %d, about %d s\n\n" % (self._exchange.place, self._exchange.place_s)

    def say(self, data: bytes) -> bytes:
        self._tail = (self._tail + data)[-len(DONE) :]
        return data

    def end(self) -> bytes:
        return b"" if self._tail == DONE else DONE

    def fail(self, status: int, error: dict) -> bytes:
        return event(msgspec.json.encode({"error": {**error, "status": status}}))

    def whole(self, head: Head, body: bytes) -> tuple[Head, bytes]:
        return head, body

    def whole_in_stream(self, head: Head, body: bytes) -> bytes:
        if head.status < 400:
            return event(body) + DONE
        return self.fail(head.status, {"type": "backend_error", "code": None, "param": None, **error_in(body, head.status)})


class Numbered(AsItCame):
    """The same with the ids by which a client that comes back says what it has. A last word that this replica adds on
    its own has none: it is not part of the stream."""

    def __init__(self, numbering: Numbering | None = None) -> None:
        super().__init__()
        self._numbering = numbering or Numbering()

    def begin(self, exchange: Exchange) -> Voice:
        super().begin(exchange)
        exchange.numbering = self._numbering
        return self

    def end(self) -> bytes:
        return b"" if self._numbering.last == DONE else self._numbering.marked(DONE)

    def fail(self, status: int, error: dict) -> bytes:
        said = super().fail(status, error)
        return self._numbering.marked(said) if self._exchange.ended else said
