"""The log's lines about requests: one each, or one a second when there are many."""

import asyncio
import io
import json
import logging
import re
from types import SimpleNamespace

import pytest

from publisher.activity import Activity
from publisher.logs import Human, Json, set_up_logging
from publisher.terminal.request_lines import RequestLines
from tests.support.waiting import eventually


class Log:
    """The publisher's log, with a clock for requests."""

    def __init__(self):
        self.now = 0.0
        self.out = io.StringIO()
        self.activity = Activity(lambda: self.now)

    def lines(self, quiet=False, as_json=False, clock=None):
        handler = logging.StreamHandler(self.out)
        handler.setFormatter(Json() if as_json else Human(False))
        set_up_logging(as_json, quiet, handler)
        return RequestLines(self.activity, clock or (lambda: self.now))

    def request(self, outcome="ok", tokens=None, streaming=True, waited_s=0.0, first_s=None, rest_s=0.0, events=0):
        request = self.activity.began("task-1", "qwen", "chat", streaming)
        self.now += waited_s
        request.started()
        if first_s is not None:
            self.now += first_s
            request.block(events)
        self.now += rest_s
        request.ended(outcome, None if tokens is None else SimpleNamespace(completion_tokens=tokens))

    @property
    def said(self):
        return [line[9:] for line in self.out.getvalue().splitlines()]


@pytest.fixture
def log():
    logger = logging.getLogger("publisher")
    before = logger.handlers, logger.propagate, logger.level
    yield Log()
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.mark.parametrize(
    "what, said",
    [
        (dict(tokens=128, first_s=0.4, rest_s=2.8), 'chat "qwen" 128 tokens 3.2 s (first 0.4 s, then 45/s)'),
        (dict(events=30, first_s=0.4, rest_s=2.8), 'chat "qwen" ~30 tokens 3.2 s (first 0.4 s, then 10/s)'),
        (dict(tokens=8, waited_s=5, first_s=1, rest_s=1), 'chat "qwen" 8 tokens 7.0 s (waited 5.0 s, first 6.0 s, then 7/s)'),
        (dict(tokens=8, streaming=False, first_s=1), 'chat "qwen" 8 tokens 1.0 s'),
        (dict(streaming=False, first_s=1), 'chat "qwen" 1.0 s'),
        (dict(outcome="cancelled", events=2, first_s=1), 'chat "qwen" cancelled, ~2 tokens 1.0 s (first 1.0 s)'),
        (dict(outcome="backend 503", streaming=False, first_s=1), 'warning: chat "qwen" backend 503, 1.0 s'),
        (dict(outcome="failed: it\nbroke\x1b[2J"), 'warning: chat "qwen" it broke\\x1b[2J, 0 ms'),
    ],
)
def test_a_request_that_ended_is_one_line(log, what, said):
    log.lines()
    log.request(**what)
    assert log.said == [said]


def test_machines_get_the_same_as_fields(log):
    log.lines(as_json=True)
    log.request(tokens=128, waited_s=1, first_s=0.5, rest_s=2)
    line = json.loads(log.out.getvalue())
    assert line.pop("ts") and line == {
        "level": "info", "event": 'chat "qwen" 128 tokens 3.5 s (waited 1.0 s, first 1.5 s, then 64/s)', "llm": "qwen",
        "task": "task-1", "operation": "chat", "tokens": 128, "seconds": 3.5, "waitedSeconds": 1.0, "firstSeconds": 1.5,
        "outcome": "ok",
    }


def test_quiet_tells_failures_alone(log):
    log.lines(quiet=True)
    for outcome in ("ok", "cancelled", "backend 500", "failed: it broke"):
        log.request(outcome)
    assert log.said == ['warning: chat "qwen" backend 500, 0 ms', 'warning: chat "qwen" it broke, 0 ms']


def test_other_news_is_told_by_those_who_make_it(log):
    log.lines()
    log.activity.waking("m")
    log.activity.wake_failed("m", "no")
    log.activity.asleep("m")
    assert log.said == []


def test_ten_requests_in_a_second_have_a_line_each_again_and_again(log):
    lines = log.lines()
    for _ in range(3):
        for _ in range(10):
            log.request()
        log.now += 1.0
    lines.close()
    assert len(log.said) == 30 and not any("requests" in line for line in log.said)


async def test_more_are_summed_up_with_the_second_s_end_and_nothing_is_lost(log):
    lines = log.lines()
    for n in range(222):
        log.request("backend 503" if n in (50, 60) else "ok")
    assert len(log.said) == 10
    await eventually(lambda: len(log.said) == 11)
    assert log.said[10].startswith("warning: 212 requests in ")
    assert log.said[10].endswith(" s: 210 ok, 2 failed (the last: backend 503)")
    lines.close()


async def test_a_second_full_of_requests_after_one_is_a_single_line(log):
    loop = asyncio.get_running_loop()
    lines = log.lines(clock=loop.time)
    for _ in range(50):
        log.request()
    await eventually(lambda: len(log.said) == 11)
    for _ in range(300):
        log.request()
    for _ in range(3):
        log.request("cancelled")
    assert len(log.said) == 11
    await eventually(lambda: len(log.said) == 12)
    assert re.fullmatch(r"303 requests in \d\.\d s: 300 ok, 3 cancelled", log.said[11])
    log.request()
    await eventually(lambda: len(log.said) == 13)
    assert re.fullmatch(r"1 request in \d\.\d s: 1 ok", log.said[12])
    log.request()
    assert log.said[13] == 'chat "qwen" 0 ms'
    lines.close()


async def test_what_is_not_said_yet_is_said_at_the_end(log):
    lines = log.lines(as_json=True)
    for _ in range(15):
        log.request()
    lines.close()
    log.request()
    told = [json.loads(line) for line in log.out.getvalue().splitlines()]
    assert len(told) == 11 and (told[10]["requests"], told[10]["ok"], told[10]["failed"]) == (5, 5, 0)


async def test_quiet_sums_up_failures_alone(log):
    lines = log.lines(quiet=True)
    for n in range(100):
        log.request("backend 500" if n % 2 else "ok")
    lines.close()
    assert len(log.said) == 11 and "40 requests" in log.said[10] and "40 failed" in log.said[10] and "ok" not in log.said[10]
