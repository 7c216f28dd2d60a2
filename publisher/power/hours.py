"""Warm hours by the clock: whether it is such a time now, until when, and when the next one begins.

What counts is the wall clock of their time zone. A time that it leaves out in
spring is an hour later; of one that it shows twice in autumn, hours begin at
the first and end at the second. It wakes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta, tzinfo

from publisher.config.values import WarmHours

DAYS_AHEAD = 9  # all hours of a week, and what goes over its end


class Hours:
    """``now``: seconds since 1970."""

    def __init__(self, times: Iterable[WarmHours] = (), now: Callable[[], float] = time.time) -> None:
        self._times = tuple(times)
        self._now = now
        self._known = (0.0, 0.0, 0.0)  # from, until (s since 1970) what is known holds; when the hours end, 0 outside

    def __bool__(self) -> bool:
        return bool(self._times)

    @property
    def left_s(self) -> float:
        """Until they are over: 0 when they are not now, infinity when they never are."""
        now = self._now()
        ends = self._look(now)[2]
        return ends - now if ends else 0.0

    @property
    def begin_in_s(self) -> float | None:
        """Until the next ones begin; ``None`` for never, and when they are now."""
        now = self._now()
        _, until, ends = self._look(now)
        return until - now if not ends and until < math.inf else None

    def meet(self, other: Hours) -> bool:
        """Whether both are to be at one time within the next week."""
        now = self._now()
        return any(
            max(begins, its_begin) < min(ends, its_end)
            for begins, ends in self._spans(now)
            for its_begin, its_end in other._spans(now)
        )

    def _look(self, now: float) -> tuple[float, float, float]:
        # Asked every second; the calendar is read when something changes, or a clock was set back.
        if not self._known[0] <= now < self._known[1]:
            self._known = self._read(now)
        return self._known

    def _read(self, now: float) -> tuple[float, float, float]:
        for begins, ends in self._spans(now):
            if now < begins:
                return now, begins, 0.0
            if now < ends:
                never = ends - now > (DAYS_AHEAD - 2) * 86400
                return now, now + 86400 if never else ends, math.inf if never else ends
        return now, math.inf, 0.0

    def _spans(self, now: float) -> list[tuple[float, float]]:
        """From two days ago on, in order, those that touch as one."""
        merged: list[tuple[float, float]] = []
        for begins, ends in sorted(span for hours in self._times for span in _spans_of(hours, now)):
            if merged and begins <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(ends, merged[-1][1])
            else:
                merged.append((begins, ends))
        return merged


def _spans_of(hours: WarmHours, now: float) -> Iterable[tuple[float, float]]:
    zone = _zone(hours.timezone)
    today = datetime.fromtimestamp(now, zone).date()
    over_night = hours.ends_min <= hours.begins_min
    for number in range(-2, DAYS_AHEAD):
        day = today + timedelta(number)
        if day.weekday() in hours.days:
            last = day + timedelta(1) if over_night else day
            begins = _moment(day, hours.begins_min, zone, 0)
            ends = max(_moment(last, hours.ends_min, zone, fold) for fold in (0, 1))
            if begins < ends:
                yield begins, ends


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _moment(day: date, minutes: int, zone: tzinfo | None, fold: int) -> float:
    """Seconds since 1970. Without a zone the machine's own rules count."""
    days, minutes = divmod(minutes, 1440)
    day += timedelta(days)
    return datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=zone, fold=fold).timestamp()
