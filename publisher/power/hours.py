"""Warm hours by the clock: whether it is such a time now, until when, and when the next one begins.

What counts is the wall clock of their time zone. A time that it leaves out in
spring is an hour later, and so is the end of hours that would be over by then; of
one that it shows twice in autumn, hours begin at the first and end at the
second. It wakes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta, tzinfo

from publisher.config.values import WarmHours

DAYS_AHEAD = 9  # all hours of a week, and what goes over its end
DAY_S = 86400.0


class Hours:
    """``now``: seconds since 1970."""

    def __init__(self, times: Iterable[WarmHours] = (), now: Callable[[], float] = time.time) -> None:
        # Zones are read now: later their files may be just being replaced.
        self._times = tuple((one, _zone(one.timezone)) for one in times)
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
    def ends(self) -> float:
        """When those that are now will be over, in seconds since 1970: 0 when there are none, infinity for never."""
        return self._look(self._now())[2]

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
                never = ends - now > (DAYS_AHEAD - 2) * DAY_S
                return now, now + DAY_S if never else ends, math.inf if never else ends
        return now, math.inf, 0.0

    def _spans(self, now: float) -> list[tuple[float, float]]:
        """From two days ago on, in order, those that touch as one."""
        merged: list[tuple[float, float]] = []
        for begins, ends in sorted(span for hours, zone in self._times for span in _spans_of(hours, zone, now)):
            if merged and begins <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(ends, merged[-1][1])
            else:
                merged.append((begins, ends))
        return merged


def _spans_of(hours: WarmHours, zone: tzinfo | None, now: float) -> Iterable[tuple[float, float]]:
    today = datetime.fromtimestamp(now, zone).date()
    over_night = hours.ends_min <= hours.begins_min
    for number in range(-2, DAYS_AHEAD):
        day = today + timedelta(number)
        if day.weekday() in hours.days:
            last = day + timedelta(1) if over_night else day
            begins = _moment(day, hours.begins_min, zone, 0)
            ends = max(_moment(last, hours.ends_min, zone, fold) for fold in (0, 1))
            # Where they begin later than they end, by spring's missing hour, they are later as a whole.
            yield begins, ends if begins < ends else begins + _length_s(hours)


def _length_s(hours: WarmHours) -> float:
    return (hours.ends_min - hours.begins_min) % 1440 * 60.0


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
