"""What `publisher check` says of warm hours."""

from publisher.check.hours import check_hours
from publisher.config.values import Provider, WarmHours
from tests.publisher.check.looking import levels, short

DAILY = frozenset(range(7))


def warm(name: str, begins: int, ends: int, group: str | None = None, days: frozenset[int] = DAILY) -> Provider:
    return Provider(name, "http://x", warm_hours=(WarmHours(days, begins * 60, ends * 60, "Europe/Berlin"),), group=group)


def test_without_hours_nothing_is_said():
    assert check_hours([Provider("a", "http://x")]) == []


def test_it_says_what_they_mean_now():
    assert short(check_hours([warm("a", 0, 24)])) == ["ok: they never end"]
    [one, other] = short(check_hours([warm("a", 6, 18), warm("b", 18, 6)]))
    assert {one.rpartition(" ")[0], other.rpartition(" ")[0]} == {"ok: they are now, for", "ok: they begin in"}


def test_mates_that_want_the_same_time_are_named():
    both = [warm("a", 8, 18, "gpu0"), warm("b", 17, 20, "gpu0")]
    assert short(check_hours(both))[2] == (
        'warning: "a" and "b" are to be warm at the same time, and only one of them can be | give them hours that do not overlap'
    )
    for apart in (
        [warm("a", 8, 18, "gpu0"), warm("b", 18, 8, "gpu0")], [warm("a", 8, 18, "gpu0"), warm("b", 8, 18, "gpu1")],
        [warm("a", 8, 18), warm("b", 8, 18)],
        [warm("a", 8, 18, "gpu0", frozenset({0})), warm("b", 8, 18, "gpu0", frozenset({1}))],
    ):
        assert levels(check_hours(apart)) == ["ok", "ok"]
