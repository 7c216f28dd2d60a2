"""Makes warm hours out of what the file says: names of days, times of a day, a time zone.

It knows no clock: what hours mean now is told by ``power/hours.py``.
"""

from __future__ import annotations

from collections.abc import Iterable

from publisher.config.mistake import Mistake, Place
from publisher.config.schema import HoursEntry
from publisher.config.values import WarmHours

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def hours_of(entries: Iterable[HoursEntry], at: Place) -> tuple[WarmHours, ...]:
    return tuple(_hours(entry, (*at, number)) for number, entry in enumerate(entries))


def _hours(entry: HoursEntry, at: Place) -> WarmHours:
    begins, ends = _minutes(entry.from_), _minutes(entry.to)
    if begins == ends:
        raise Mistake((*at, "to"), 'is when it begins: the whole day is from "00:00" to "24:00"')
    if entry.timezone is not None and not _known(entry.timezone):
        remedy = 'write one like "Europe/Berlin"' if _known("UTC") else "it has no list of them, so install tzdata"
        raise Mistake((*at, "timezone"), f"is no time zone that this machine knows: {remedy}")
    return WarmHours(_days(entry.days), begins, ends, entry.timezone)


def _days(text: str) -> frozenset[int]:
    """A range may go over the end of the week: fri-mon."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        begin = DAYS.index(first)
        length = (DAYS.index(last or first) - begin) % 7
        found.update((begin + n) % 7 for n in range(length + 1))
    return frozenset(found)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _known(timezone: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):  # unknown, no name of a file, the name of a folder
        return False
    return True
