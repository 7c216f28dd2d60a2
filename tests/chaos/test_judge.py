"""The judge of a run of chaos: it finds each broken promise, and excuses what a death explains."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.chaos import generations
from tests.chaos.generations import Generation
from tests.chaos.history import CUT, OK, Asked, History
from tests.chaos.submitting import Task

REPLICA = "http://replica"


def asked(
    kind: str = "plain", model: str = "a", how: str = OK, heard: tuple[str, ...] = ("c1",), ended_at: float = 11.0, **more
) -> Asked:
    """A request for one word, from second 10 on, which has four."""
    one = Asked("r-", REPLICA, 1, 10.0, 4.0, kind, model, ended_at=ended_at, ended_how=how, status=200, **more)
    one.generations |= set(heard)
    one.words = one.words or ["r-0 "] * (how == OK)
    return one


def judged(one: Asked, *made: Generation, deaths: tuple[tuple[str, float, float], ...] = ()) -> list[str]:
    history = History([one])
    for victim, at, back in deaths:
        history.died("kill", victim, at).back = back
    found = generations.violations(history, [], defaultdict(list, {"r-": list(made)}), [REPLICA])
    return history.violations() + found


FIRST, SECOND = Generation("c1", "a", 10.1, 10.5), Generation("c2", "b", 10.6, 10.9)


def test_one_answer_to_one_request_is_well():
    assert not judged(asked(), FIRST)


@pytest.mark.parametrize(
    ("one", "what"),
    [
        (asked(how=""), "never ended"),
        (asked(words=["x-0 "]), "somebody else's"),
        (asked(heard=("c1", "c2")), "a mixture"),
        (asked(after_end=["[DONE]"]), "went on after its end"),
        (asked(how=CUT), "though its replica lived"),
        (asked(ended_at=18.0), "after its deadline"),
        (asked(how="refused"), "a status that nothing here explains"),
    ],
)
def test_an_answer_that_breaks_a_promise_is_found(one, what):
    assert any(what in found for found in judged(one, FIRST))


def test_a_connection_may_be_cut_by_the_death_of_its_replica():
    assert not judged(asked(how=CUT), FIRST, deaths=((REPLICA, 10.5, 12.0),))


def test_an_answer_is_begun_again_only_when_its_publisher_died():
    pooled = asked("pooled", "all", heard=("c2",))
    assert "nobody had died" in judged(pooled, FIRST, SECOND)[0]
    assert "nobody had died" in judged(pooled, FIRST, SECOND, deaths=(("b", 10.3, 10.3), ("redis", 10.3, 10.4)))[0]
    assert not judged(pooled, FIRST, SECOND, deaths=(("a", 10.3, 10.3),))
    assert "was run 2 times" in judged(asked(heard=("c2",)), FIRST, SECOND, deaths=(("a", 10.3, 10.3),))[0]


def test_nothing_is_begun_after_its_client_heard_of_it():
    pooled = asked("pooled", "all", how=CUT, heard=("c1",))
    assert any("follows" in found for found in judged(pooled, FIRST, SECOND, deaths=(("a", 10.3, 10.3), (REPLICA, 10.9, 12.0))))


def test_a_call_to_an_upstream_dies_with_its_caller():
    made = [Generation("c1", "p", 10.1, 10.5), Generation("c2", "p", 10.6, 10.9)]
    keyed = asked("keyed", "p", heard=("c2",))
    assert judged(keyed, *made) and not judged(keyed, *made, deaths=((REPLICA, 10.4, 12.0),))


def test_a_task_is_run_once_in_each_attempt_and_its_result_is_of_the_last():
    task = Task("job_1", "r-", 1, "a", False, generations={"c1"}, attempts=1)
    history = History()
    history.died("kill", "a", 10.3).back = 10.3
    found = generations.violations(history, [task], defaultdict(list, {"r-": [FIRST, SECOND]}), [REPLICA])
    assert "run 2 times in 1 attempts" in found[0] and "follows" in found[1] and len(found) == 2
