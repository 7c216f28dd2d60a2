"""The log's lines about requests: one when a request ends, or one per second when there are many.

The first ten of a second have a line each. From the next one on only numbers are
kept, and a line a second sums them up until it is quiet again, so that a
thousand requests a second cost next to nothing. Never what was asked or said.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from publisher.activity import Activity, Ended, Event
from publisher.request import CANCELLED, FAILED, OK, Request

log = logging.getLogger("publisher")

LINES_PER_S = 10
SUM_S = 1.0
WORTH_TELLING_S = 0.1  # a shorter wait for a slot is none


class RequestLines:
    def __init__(self, activity: Activity, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second_began = 0.0
        self._lines = 0  # in this second
        self._sum_began = 0.0
        self._unsaid = {OK: 0, CANCELLED: 0, FAILED: 0}
        self._last_failure = ""
        self._timer: asyncio.TimerHandle | None = None
        self._tells_all = log.isEnabledFor(logging.INFO)
        self._unlisten = activity.listen(self._hear)

    def close(self) -> None:
        """Says what is not said yet."""
        self._unlisten()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sum_up()

    def _hear(self, event: Event) -> None:
        if type(event) is not Ended:
            return
        request = event.request
        if not (self._tells_all or request.failed):
            return
        if self._timer is not None:
            self._add(request)
            return
        now = self._clock()
        if now - self._second_began >= SUM_S:
            self._second_began, self._lines = now, 0
        self._lines += 1
        if self._lines <= LINES_PER_S:
            _say(request)
        else:
            self._add(request)
            self._wait_until(self._second_began + SUM_S - now)

    def _add(self, request: Request) -> None:
        if request.failed:
            self._unsaid[FAILED] += 1
            self._last_failure = request.outcome
        else:
            self._unsaid[request.outcome] += 1

    def _wait_until(self, delay_s: float) -> None:
        self._sum_began = self._clock()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._next_second)

    def _next_second(self) -> None:
        """Sums go on as long as each second has more than what lines would take."""
        self._timer = None
        if self._sum_up() > LINES_PER_S:
            self._wait_until(SUM_S)

    def _sum_up(self) -> int:
        ok, cancelled, failed = self._unsaid.values()
        total = ok + cancelled + failed
        if not total:
            return 0
        self._unsaid = dict.fromkeys(self._unsaid, 0)
        took_s = self._clock() - self._sum_began
        parts = [f"{n} {word}" for n, word in ((ok, "ok"), (cancelled, "cancelled"), (failed, "failed")) if n]
        text = f"{total} request{'s' if total > 1 else ''} in {max(took_s, 0.1):.1f} s: {', '.join(parts)}"
        if failed:
            text += f" (the last: {self._last_failure.removeprefix(FAILED)})"
        fields = {"requests": total, "ok": ok, "cancelled": cancelled, "failed": failed, "seconds": round(took_s, 3)}
        log.log(logging.WARNING if failed else logging.INFO, "%s", text, extra={"request": fields})
        return total


def _say(request: Request) -> None:
    level = logging.WARNING if request.failed else logging.INFO
    if log.isEnabledFor(level):
        log.log(level, "%s", line(request), extra={"request": fields(request)})


def line(request: Request) -> str:
    """``chat "qwen" 128 tokens 3.2 s (first 0.4 s, then 46/s)``; with a ``~`` when the backend told no usage."""
    parts = [f'{request.operation} "{request.name}"']
    if request.outcome != OK:
        parts.append(f"{request.outcome.removeprefix(FAILED) if request.failed else request.outcome},")
    if request.tokens:
        parts.append(f"{'' if request.exact else '~'}{request.tokens} tokens")
    parts.append(_time(request.seconds))
    return " ".join(parts) + _details(request)


def _details(request: Request) -> str:
    details = []
    if request.waited_s >= WORTH_TELLING_S:
        details.append(f"waited {_time(request.waited_s)}")
    if request.streaming and request.first_s is not None:
        details.append(f"first {_time(request.first_s)}")
    if speed := request.speed:
        details.append(f"then {speed:.0f}/s")
    return f" ({', '.join(details)})" if details else ""


def _time(s: float) -> str:
    return f"{s:.1f} s" if s >= 0.1 else f"{s * 1000:.0f} ms"


def fields(request: Request) -> dict[str, object]:
    return {
        "llm": request.name,
        "task": request.task_id,
        "operation": request.operation,
        "tokens": request.tokens,
        "seconds": round(request.seconds, 3),
        "waitedSeconds": round(request.waited_s, 3),
        "firstSeconds": None if request.first_s is None else round(request.first_s, 3),
        "outcome": request.outcome,
    }
