"""The sleep race notices what it is there for, and its script says so with its exit code."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from scripts.racing.__main__ import report
from scripts.racing.answers import Answers, Asked
from scripts.racing.engines import RacingOllama, RacingVLLM
from scripts.racing.race import Outcome
from tests.scripts.running import SET_UP_S, assert_nothing_left_of, needs_proc, script, scripts
from tests.support.processes import client

GOOD = {"status": 200, "said": "r1-0 r1-1 ", "ended": 1}


def wrong(served: int = 1, **got: object) -> list[str]:
    one = Asked("r1-", "m", 2, **{**GOOD, **got})
    return Answers([one]).wrong(Counter({"r1-": served}))


def test_an_answer_that_is_its_own_whole_and_came_once_is_right():
    assert wrong() == []


@pytest.mark.parametrize(
    "got, told",
    [
        ({"status": 429, "note": "busy", "said": ""}, "r1- (m): 429: busy"),
        ({"status": 0, "note": "no answer within 30 s"}, "r1- (m): 0: no answer within 30 s"),
        ({"status": 503}, "r1- (m): 503: no word why"),
        ({"ended": 0}, "it ended 0 times"),
        ({"ended": 2}, "it ended 2 times"),
        ({"said": "r1-0 "}, "instead of 'r1-0 r1-1 '"),
        ({"said": "r2-0 r2-1 "}, "it was answered 'r2-0 r2-1 '"),
        ({"served": 0}, "it reached the engine 0 times"),
        ({"served": 2}, "it reached the engine 2 times"),
    ],
)
def test_whatever_else_a_request_came_to_is_told(got, told):
    (said,) = wrong(**got)
    assert told in said


def test_the_summary_has_the_figures_and_what_is_wrong():
    answers = Answers([Asked(f"r{n}-", "m", 1, seconds=n / 1000) for n in range(100)])
    figures = {"sleeps": 3, "wakes": 4, "called_off": 5, "by_hand": 6, "refused": 7, "insults": 1}
    text = report(Outcome(answers, seconds=2.0, **figures, wrong=["this", "that"]))
    assert "100 requests in 2 s, 50/s" in text and "p50 50 ms, p99 99 ms" in text
    assert "3 sleeps, 4 wakes, 5 sleeps called off, 1 insults; by hand 6 sleeps, 7 refused for work" in text
    assert "WRONG: this\nWRONG: that\n2 things are wrong" in text


@pytest.mark.parametrize("asleep, insulted", [(True, 1), (False, 0)])
async def test_a_vllm_that_is_asked_while_it_sleeps_is_insulted(asleep, insulted):
    async with RacingVLLM("m", 0.0) as engine, client(engine.url) as api:
        if asleep:
            await api.call("POST", "/sleep?level=1")
        await api.chat("m")
    assert engine.insulted == insulted


@pytest.mark.parametrize("asleep, insulted", [(True, 1), (False, 0)])
async def test_an_ollama_that_is_asked_before_its_model_is_loaded_is_insulted(asleep, insulted):
    async with RacingOllama(["m"], 0.0) as engine, client(engine.url) as api:
        if not asleep:
            await api.call("POST", "/api/generate", {"model": "m"})
        await api.chat("m")
    assert engine.insulted == insulted


@pytest.mark.parametrize("engine", [RacingVLLM("m", 0.0), RacingOllama(["m"], 0.0)], ids=["vllm", "ollama"])
async def test_an_engine_that_is_put_to_sleep_in_the_middle_of_an_answer_is_insulted(engine):
    async with engine, client(engine.url) as api:
        await api.call("POST", "/api/generate", {"model": "m"})
        asking = asyncio.create_task(api.chat("m", script={"hang": "head"}))
        await engine.talk.until(lambda: bool(engine.talk.seen))
        await api.call("POST", "/sleep?level=1")
        await api.call("POST", "/api/generate", {"model": "m", "keep_alive": 0})
        asking.cancel()
        await asyncio.wait([asking])
    assert engine.insulted == 1


@needs_proc
@pytest.mark.timeout(SET_UP_S)
@pytest.mark.limit_s(90)
async def test_the_script_races_tells_its_figures_and_leaves_nothing_behind(tmp_path):
    with scripts(tmp_path) as stage:
        run = script(stage, "sleep-race", "--requests", "60", "--rows", "4", "--seed", "1")
        assert await run.ended(50) == 0, run.log()
        assert "seed 1, 60 requests, 4 rows, brokers: 1" in run.log()
        assert "60 requests in" in run.log() and "nothing is wrong with any of them" in run.log()
        assert_nothing_left_of(stage)
        assert not list(tmp_path.glob("reveille-race-*"))
