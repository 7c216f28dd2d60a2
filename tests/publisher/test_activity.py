"""What happens now: running requests, tallies per name, present speeds, events."""

from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import pytest

from publisher.activity import Activity, Asleep, Began, Ended, Failed, FallingAsleep, Waking, Woke


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def activity(clock):
    return Activity(clock)


def told(completion_tokens):
    return SimpleNamespace(completion_tokens=completion_tokens)


def stream(activity, clock, *blocks, name="m", task="t", streaming=True):
    """A request that got its slot at once, with (seconds later, events) for each block."""
    request = activity.began(task, name, "chat", streaming)
    request.started()
    for later_s, events in blocks:
        clock.now += later_s
        request.block(events)
    return request


def test_a_request_is_running_until_it_ends_and_then_counted(activity, clock):
    request = stream(activity, clock, (0.5, 3))
    assert activity.running == {"t": request} and activity.tallies == {}
    request.ended("ok")
    assert activity.running == {}
    tally = activity.tallies["m"]
    assert (tally.requests, tally.failed, tally.tokens, tally.last_error) == (1, 0, 3, "")


def test_the_backend_s_own_number_of_tokens_comes_before_the_number_of_events(activity, clock):
    request = stream(activity, clock, (0.5, 3))
    assert not request.exact
    request.ended("ok", told(128))
    assert request.tokens == activity.tallies["m"].tokens == 128 and request.exact


@pytest.mark.parametrize(
    "outcome, failed, last_error",
    [("ok", 0, ""), ("cancelled", 0, ""), ("backend 503", 1, "backend 503"), ("failed: it broke", 1, "it broke")],
)
def test_only_what_went_wrong_counts_as_failed(activity, clock, outcome, failed, last_error):
    clock.now = 7.0
    stream(activity, clock).ended(outcome)
    tally = activity.tallies["m"]
    assert (tally.requests, tally.failed, tally.last_error) == (1, failed, last_error)
    assert tally.last_error_at == (7.0 if failed else None)


def test_a_later_success_keeps_the_last_error(activity, clock):
    stream(activity, clock).ended("backend 500")
    clock.now = 9.0
    stream(activity, clock).ended("ok")
    assert (activity.tallies["m"].last_error, activity.tallies["m"].last_error_at) == ("backend 500", 0.0)


def test_a_second_end_is_none(activity, clock):
    request = stream(activity, clock)
    request.ended("ok")
    clock.now = 5.0
    request.ended("failed: late")
    assert request.outcome == "ok" and request.ended_at == 0.0 and activity.tallies["m"].requests == 1


def test_a_task_id_that_comes_again_is_not_taken_away_by_the_older_one(activity, clock):
    old = stream(activity, clock)
    new = stream(activity, clock)
    old.ended("cancelled")
    assert activity.running == {"t": new}


def test_times_are_counted_from_the_arrival(activity, clock):
    clock.now = 100.0
    request = activity.began("t", "m", "chat", True)
    clock.now += 2
    assert request.waited_s == 2 and request.first_s is None and request.seconds == 2
    request.started()
    clock.now += 1
    request.block(1)
    clock.now += 4
    request.block(8)
    assert (request.waited_s, request.first_s, request.speed) == (2, 3, 2.0)
    request.ended("ok")
    clock.now += 50
    assert (request.seconds, request.speed) == (7, 2.0)


def test_one_that_never_got_a_slot_waited_until_its_end(activity, clock):
    request = activity.began("t", "m", "chat", True)
    clock.now = 3.0
    request.ended("cancelled")
    clock.now = 9.0
    assert request.waited_s == request.seconds == 3


@pytest.mark.parametrize("blocks", [(), ((1, 1),), ((1, 0), (1, 1)), ((1, 5), (0.001, 5))])
def test_a_speed_that_says_nothing_is_none(activity, clock, blocks):
    assert stream(activity, clock, *blocks).speed is None


def test_a_whole_answer_has_no_speed_however_it_arrives(activity, clock):
    request = stream(activity, clock, (1, 0), (1, 0), streaming=False)
    request.ended("ok", told(100))
    assert request.speed is None and request.tokens == 100


def test_the_present_speed_follows_the_last_seconds_not_the_whole_stream(activity, clock):
    request = stream(activity, clock, *[(0.1, 10)] * 200)
    assert activity.tokens_per_s()["m"] == pytest.approx(100, rel=0.05)
    for _ in range(100):
        clock.now += 0.1
        request.block(1)
    assert activity.tokens_per_s()["m"] == pytest.approx(10, rel=0.05)


def test_a_stream_that_stops_talking_slows_down_and_then_stands(activity, clock):
    stream(activity, clock, *[(0.1, 10)] * 50)
    clock.now += 3
    assert 0 < activity.tokens_per_s()["m"] < 80
    clock.now += 2.1
    assert activity.tokens_per_s() == {}


def test_the_first_burst_is_no_speed_yet(activity, clock):
    stream(activity, clock, (1, 400))
    assert activity.tokens_per_s() == {}
    activity.running["t"].block(10)
    assert activity.tokens_per_s() == {"m": 20.0}


def test_speeds_add_up_by_name_over_streams_alone(activity, clock):
    for task, name, streaming in (("a", "m", True), ("b", "m", True), ("c", "n", True), ("d", "m", False)):
        request = activity.began(task, name, "chat", streaming)
        request.block(1)
    for _ in range(20):
        clock.now += 0.1
        for request in activity.running.values():
            request.block(1)
    assert {name: round(speed) for name, speed in activity.tokens_per_s().items()} == {"m": 20, "n": 10}


def test_listeners_hear_what_happens_until_they_stop(activity, clock):
    heard, other = [], []
    stop = activity.listen(heard.append)
    activity.listen(other.append)
    clock.now = 1.0
    request = stream(activity, clock)
    request.ended("ok")
    activity.waking("m", 60)
    activity.woke("m", 1200)
    activity.falling_asleep("m")
    activity.asleep("m")
    activity.failed("m", "nobody answers")
    assert heard == [
        Began(request), Ended(request), Waking("m", 1.0, 60), Woke("m", 1200), FallingAsleep("m"), Asleep("m"),
        Failed("m", "nobody answers"),
    ]
    stop()
    activity.asleep("m")
    assert len(other) == len(heard) + 1
    with pytest.raises(FrozenInstanceError):
        heard[3].ms = 0


def test_a_wake_is_known_while_it_lasts_and_a_failed_one_is_the_last_error(activity, clock):
    clock.now = 4.0
    activity.waking("m", 60)
    assert activity.wakes == {"m": Waking("m", 4.0, 60)}
    activity.wake_failed("m", "exit code 1")
    assert activity.wakes == {} and activity.tallies["m"].last_error == "exit code 1"
    assert activity.tallies["m"].requests == 0
    activity.waking("m")
    activity.woke("m", 10)
    assert activity.wakes == {}
