"""Warm hours by the wall clock: days, midnight, zones, and the two days a year on which a day has no 24 hours."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from publisher.config.values import WarmHours
from publisher.power.hours import Hours

BERLIN = "Europe/Berlin"
WORKDAYS = frozenset(range(5))
EVERY_DAY = frozenset(range(7))
HOUR, DAY = 3600, 86400


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    """A moment as that zone's clock shows it, as seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def hours(*times: WarmHours, now: float) -> Hours:
    return Hours(times, lambda: now)


def office(zone: str | None = BERLIN) -> WarmHours:
    return WarmHours(WORKDAYS, 8 * 60, 18 * 60, zone)


@pytest.mark.parametrize(
    ("now", "left_s", "begin_in_s"),
    [
        ("2026-03-02T07:59:59", 0, 1),  # a Monday
        ("2026-03-02T08:00", 10 * HOUR, None),
        ("2026-03-02T17:59:59", 1, None),
        ("2026-03-02T18:00", 0, 14 * HOUR),
        ("2026-03-06T18:00", 0, 62 * HOUR),  # over the weekend
        ("2026-03-07T12:00", 0, 44 * HOUR),
    ],
)
def test_office_hours(now, left_s, begin_in_s):
    told = hours(office(), now=at(now))
    assert (told.left_s, told.begin_in_s) == (left_s, begin_in_s)


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin():
    night = WarmHours(frozenset({4}), 22 * 60, 6 * 60, BERLIN)
    assert hours(night, now=at("2026-03-06T21:00")).begin_in_s == HOUR
    assert hours(night, now=at("2026-03-06T23:00")).left_s == 7 * HOUR
    assert hours(night, now=at("2026-03-07T05:59")).left_s == 60
    assert hours(night, now=at("2026-03-07T23:00")).left_s == 0, "Saturday night is not in it"
    assert hours(night, now=at("2026-03-06T01:00")).left_s == 0, "nor is the night before"


def test_hours_that_touch_are_one_and_around_the_clock_has_no_end():
    halves = WarmHours(EVERY_DAY, 0, 12 * 60, BERLIN), WarmHours(WORKDAYS, 12 * 60, 1440, BERLIN)
    assert hours(*halves, now=at("2026-03-02T01:00")).left_s == 5 * DAY + 11 * HOUR
    always = hours(WarmHours(EVERY_DAY, 0, 1440, BERLIN), now=at("2026-03-02T01:00"))
    assert (always.left_s, always.begin_in_s) == (math.inf, None)
    night_and_day = WarmHours(EVERY_DAY, 8 * 60, 20 * 60, BERLIN), WarmHours(EVERY_DAY, 20 * 60, 8 * 60, BERLIN)
    assert hours(*night_and_day, now=at("2026-03-28T01:00")).left_s == math.inf


def test_without_hours_it_is_never_time():
    none = hours(now=at("2026-03-02T09:00"))
    assert not none and (none.left_s, none.begin_in_s) == (0, None)


def test_on_the_days_of_a_change_of_the_clock_the_wall_clock_counts():
    whole = WarmHours(EVERY_DAY, 0, 8 * 60, BERLIN)
    assert hours(whole, now=at("2026-03-29T00:00")).left_s == 7 * HOUR, "the night in spring is an hour short"
    assert hours(whole, now=at("2026-10-25T00:00")).left_s == 9 * HOUR, "the night in autumn an hour long"
    assert hours(office(), now=at("2026-03-27T19:00")).begin_in_s == 60 * HOUR
    assert hours(office(), now=at("2026-10-23T19:00")).begin_in_s == 62 * HOUR


def test_a_time_that_spring_leaves_out_is_an_hour_later_and_one_that_autumn_shows_twice_is_in_whole():
    gap = WarmHours(EVERY_DAY, 2 * 60 + 15, 2 * 60 + 45, BERLIN)
    told = hours(gap, now=at("2026-03-29T01:00"))
    assert told.begin_in_s == at("2026-03-29T03:15") - at("2026-03-29T01:00")
    assert hours(gap, now=at("2026-03-29T03:20")).left_s == 25 * 60
    first, second = at("2026-10-25T02:15"), at("2026-10-25T02:45", fold=1)
    assert hours(gap, now=first).left_s == second - first == 1.5 * HOUR


@pytest.mark.parametrize(("ends", "begin", "end"), [(3 * 60, "03:00", "04:00"), (3 * 60 + 15, "03:00", "03:15")])
def test_hours_that_spring_leaves_out_are_an_hour_later_and_come_again_the_next_week(ends, begin, end):
    clock = [at("2026-03-22T12:00")]  # a week before
    told = Hours([WarmHours(frozenset({6}), 2 * 60, ends, BERLIN)], lambda: clock[0])
    assert clock[0] + told.begin_in_s == at(f"2026-03-29T{begin}")
    clock[0] = at("2026-03-29T03:01")
    assert clock[0] + told.left_s == at(f"2026-03-29T{end}")
    clock[0] = at("2026-03-29T05:00")
    assert clock[0] + told.begin_in_s == at("2026-04-05T02:00")


def test_a_zone_of_the_other_side_of_the_world_has_its_own_days():
    told = hours(WarmHours(frozenset({0}), 8 * 60, 18 * 60, "Pacific/Auckland"), now=at("2026-03-02T09:00", "Pacific/Auckland"))
    assert told.left_s == 9 * HOUR
    assert datetime.fromtimestamp(at("2026-03-02T09:00", "Pacific/Auckland"), UTC).weekday() == 6


def test_without_a_zone_the_machines_own_counts(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert hours(office(None), now=at("2026-03-02T09:00", "America/New_York")).left_s == 9 * HOUR
        assert hours(office(None), now=at("2026-03-08T01:00", "America/New_York")).begin_in_s == 30 * HOUR, "its change"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_known_is_read_anew_when_it_ends_and_when_the_clock_is_set_back():
    clock = [at("2026-03-02T09:00")]
    told = Hours([office()], lambda: clock[0])
    seen = []
    for text in ("2026-03-02T09:00", "2026-03-02T17:00", "2026-03-02T18:00", "2026-03-02T09:30", "2026-03-01T23:00"):
        clock[0] = at(text)
        seen.append((told.left_s, told.begin_in_s))
    assert seen == [(9 * HOUR, None), (HOUR, None), (0, 14 * HOUR), (8.5 * HOUR, None), (0, 9 * HOUR)]


times = st.builds(
    WarmHours, st.frozensets(st.integers(0, 6), min_size=1), st.integers(0, 1439), st.integers(0, 1440),
    st.sampled_from([BERLIN, "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
).filter(lambda one: one.begins_min != one.ends_min and one.begins_min != one.ends_min % 1440 or one.ends_min == 1440)


def shown(one: WarmHours, now: float) -> bool:
    """Whether a wall clock of that zone shows a time that is in those hours."""
    clock = datetime.fromtimestamp(now, ZoneInfo(one.timezone))
    minute, today, yesterday = clock.hour * 60 + clock.minute, clock.weekday(), (clock.weekday() - 1) % 7
    if one.begins_min < one.ends_min:
        return today in one.days and one.begins_min <= minute < one.ends_min
    return (today in one.days and minute >= one.begins_min) or (yesterday in one.days and minute < one.ends_min)


def steady(zone: str, now: float) -> bool:
    """Whether no clock of that zone changes within two days of it."""
    moment = datetime.fromtimestamp(now, ZoneInfo(zone))
    return len({(moment + timedelta(days)).utcoffset() for days in (-2, 0, 2)}) == 1


@settings(deadline=None, max_examples=400)
@given(st.lists(times, min_size=1, max_size=4), st.integers(1_700_000_000, 1_900_000_000))
def test_it_is_time_when_a_wall_clock_says_so(those, now):
    assume(all(steady(one.timezone, now) for one in those))
    told = hours(*those, now=float(now))
    assert (told.left_s > 0) == any(shown(one, now) for one in those)
    if 0 < told.left_s < 2 * DAY:
        assert any(shown(one, now + told.left_s - 1) for one in those)
        assert not any(shown(one, now + told.left_s) for one in those)
    if told.begin_in_s is not None and told.begin_in_s < 2 * DAY:
        assert not any(shown(one, now + told.begin_in_s - 1) for one in those)
        assert any(shown(one, now + told.begin_in_s) for one in those)


@settings(deadline=None, max_examples=200)
@given(st.lists(times, min_size=1, max_size=3), st.integers(1_700_000_000, 1_900_000_000), st.integers(1, 400))
def test_a_long_life_sees_the_same_as_a_fresh_look(those, now, steps):
    clock = [float(now)]
    told = Hours(those, lambda: clock[0])
    for step in range(steps % 20):
        clock[0] += 977.0 * (step + steps)
        fresh = hours(*those, now=clock[0])
        assert (told.left_s, told.begin_in_s) == (fresh.left_s, fresh.begin_in_s)
