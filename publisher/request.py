"""One request at this publisher, from its arrival to its end: times, tokens, outcome.

Numbers only, and cheap: ``block`` runs for every piece of a stream. It holds
nothing of what was asked or said, and it logs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from publisher.activity import Activity

OK = "ok"
CANCELLED = "cancelled"
FAILED = "failed: "  # and the reason

WINDOW_S = 5.0  # how far back a stream's present speed looks
LEAST_S = 0.5  # a shorter time says nothing about a present speed
STEADY_S = 0.05  # nor this one about a whole stream's


class Used(Protocol):
    """The usage that a backend told at the end."""

    completion_tokens: int


class Request:
    """One request, from its arrival to its end. ``block`` is the hot path: numbers only."""

    __slots__ = (
        "task_id", "name", "operation", "streaming", "began_at", "started_at", "first_at", "ended_at", "outcome",
        "tokens", "exact", "_activity", "_clock", "_last_at", "_mark_at", "_mark_tokens", "_older_at",
        "_older_tokens",
    )

    def __init__(self, activity: Activity, task_id: str, name: str, operation: str, streaming: bool) -> None:
        self._activity = activity
        self._clock = activity.clock
        self.task_id = task_id
        self.name = name
        self.operation = operation
        self.streaming = streaming
        self.began_at = self._clock()
        self.started_at: float | None = None  # got its slot
        self.first_at: float | None = None  # first byte of the answer
        self.ended_at: float | None = None
        self.outcome = ""
        self.tokens = 0
        self.exact = False  # the backend told the number; before that it is the number of events
        self._last_at = self._mark_at = self._older_at = 0.0
        self._mark_tokens = self._older_tokens = 0

    def started(self) -> None:
        self.started_at = self._clock()

    def block(self, n_events: int) -> None:
        """More of the answer is here; 0 events for a part of a whole answer."""
        now = self._last_at = self._clock()
        self.tokens += n_events
        if self.first_at is None:
            self.first_at = self._mark_at = self._older_at = now
            self._mark_tokens = self._older_tokens = self.tokens
        elif now - self._mark_at > WINDOW_S / 2:  # two marks, so that one is always old enough
            self._older_at, self._older_tokens = self._mark_at, self._mark_tokens
            self._mark_at, self._mark_tokens = now, self.tokens

    def ended(self, outcome: str, usage: Used | None = None) -> None:
        """``outcome``: ok · cancelled · "backend 503" · "failed: " and the reason. Only the first end counts."""
        if self.ended_at is not None:
            return
        self.ended_at = self._clock()
        self.outcome = outcome
        if usage is not None:
            self.tokens = usage.completion_tokens
            self.exact = True
        self._activity.ended(self)

    @property
    def failed(self) -> bool:
        return self.outcome not in (OK, CANCELLED, "")

    @property
    def seconds(self) -> float:
        return self._until(self.ended_at) - self.began_at

    @property
    def waited_s(self) -> float:
        """For a slot."""
        return self._until(self.ended_at if self.started_at is None else self.started_at) - self.began_at

    @property
    def first_s(self) -> float | None:
        return None if self.first_at is None else self.first_at - self.began_at

    @property
    def speed(self) -> float | None:
        """Tokens per second after the first one, over the whole stream; ``None`` when that says nothing."""
        if not self.streaming or self.first_at is None or self.tokens < 2:
            return None
        took_s = self._until(self.ended_at) - self.first_at
        return (self.tokens - 1) / took_s if took_s >= STEADY_S else None

    def tokens_per_s(self, now: float) -> float:
        """At present, over about five seconds. A stream that stopped talking for as long has none."""
        if not self.streaming or self.first_at is None or now - self._last_at > WINDOW_S:
            return 0.0
        return (self.tokens - self._older_tokens) / max(now - self._older_at, LEAST_S)

    def _until(self, moment: float | None) -> float:
        return self._clock() if moment is None else moment
