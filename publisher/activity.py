"""What happens now, in memory: running requests, wakes, and a tally per published LLM.

Kept for the log, the live view and ``publisher status``. It holds no content of
any request, logs nothing, and starts no timer: speeds are worked out when somebody
reads them. Nothing of an event is built unless somebody listens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from publisher.request import FAILED, Request

# ── events, for whoever listens ─────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Began:
    request: Request


@dataclass(frozen=True, slots=True)
class Ended:
    request: Request


@dataclass(frozen=True, slots=True)
class Waking:
    name: str
    since: float = 0.0
    limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Woke:
    name: str
    ms: int


@dataclass(frozen=True, slots=True)
class FallingAsleep:
    name: str


@dataclass(frozen=True, slots=True)
class Asleep:
    name: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A provider itself is in trouble: it did not wake, nobody answers."""

    name: str
    reason: str


Event = Began | Ended | Waking | Woke | FallingAsleep | Asleep | Failed


@dataclass(slots=True)
class Tally:
    """One published LLM since the start; of ended requests only."""

    requests: int = 0
    failed: int = 0
    tokens: int = 0
    last_error: str = ""
    last_error_at: float | None = None  # by the same clock


class Activity:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.running: dict[str, Request] = {}
        self.wakes: dict[str, Waking] = {}
        self.tallies: dict[str, Tally] = {}
        self._listeners: tuple[Callable[[Event], None], ...] = ()

    def listen(self, hear: Callable[[Event], None]) -> Callable[[], None]:
        """``hear`` gets every event from now on, until the returned call."""
        self._listeners += (hear,)

        def unlisten() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not hear)

        return unlisten

    def began(self, task_id: str, name: str, operation: str, streaming: bool) -> Request:
        request = self.running[task_id] = Request(self, task_id, name, operation, streaming)
        if self._listeners:
            self._say(Began(request))
        return request

    def ended(self, request: Request) -> None:
        """Called by the request itself."""
        if self.running.get(request.task_id) is request:
            del self.running[request.task_id]
        tally = self.tally(request.name)
        tally.requests += 1
        tally.tokens += request.tokens
        if request.failed:
            tally.failed += 1
            self._blame(tally, request.outcome.removeprefix(FAILED))
        if self._listeners:
            self._say(Ended(request))

    def waking(self, name: str, limit_s: float | None = None) -> None:
        """``limit_s``: how long it may take, for the bar that shows how far it is."""
        wake = self.wakes[name] = Waking(name, self.clock(), limit_s)
        self._say(wake)

    def woke(self, name: str, ms: int) -> None:
        self.wakes.pop(name, None)
        self._say(Woke(name, ms))

    def wake_failed(self, name: str, reason: str) -> None:
        self.wakes.pop(name, None)
        self.failed(name, reason)

    def wake_stopped(self, name: str) -> None:
        """It is nobody's failure."""
        self.wakes.pop(name, None)

    def falling_asleep(self, name: str) -> None:
        self._say(FallingAsleep(name))

    def asleep(self, name: str) -> None:
        self._say(Asleep(name))

    def failed(self, name: str, reason: str) -> None:
        self._blame(self.tally(name), reason)
        self._say(Failed(name, reason))

    def tally(self, name: str) -> Tally:
        known = self.tallies.get(name)
        if known is None:
            known = self.tallies[name] = Tally()
        return known

    def keep(self, names: Iterable[str]) -> None:
        """Forgets the tallies of all others: models come and go."""
        self.tallies = {name: self.tally(name) for name in names}

    def tokens_per_s(self) -> dict[str, float]:
        """Of the streams that run now, by name; names without any are left out."""
        now, speeds = self.clock(), {}
        for request in self.running.values():
            if speed := request.tokens_per_s(now):
                speeds[request.name] = speeds.get(request.name, 0.0) + speed
        return speeds

    def _blame(self, tally: Tally, reason: str) -> None:
        tally.last_error = reason
        tally.last_error_at = self.clock()

    def _say(self, event: Event) -> None:
        for hear in self._listeners:
            hear(event)
