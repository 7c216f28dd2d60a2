"""A broker that is broken, away, or none at all when the publisher registers for the first time."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.publisher.faults.side_by_side import WHOLE, side_by_side
from tests.publisher.running import play
from tests.support.broken_backend import BrokenBackend, well
from tests.support.broken_broker import FAULTS, SECRET, BrokenBroker, says, writes

#: What only a person can mend: the publisher says so and stops.
FINAL = ["401", "403", "404", "404 html", "405", "409", "redirect", "html", "204", "empty", "nonsense", "null", "deep",
         "no text", "deep error", "error that is no text", "no protocol"]
FOR_NOW = [name for name in FAULTS if name not in FINAL]


@pytest.mark.parametrize("fault", FINAL)
def test_a_broker_that_says_no_is_an_error_on_one_line_and_not_a_loop(fault, log_lines):
    async def test():
        broker = BrokenBroker()
        broker.broken["register"] = FAULTS[fault]
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker, wait_ready=False) as s:
            async with asyncio.timeout(10):
                assert await s.running == 1
            assert broker.calls == ["register"]

    play(test())
    (said,) = [line for line in log_lines if "error: " in line]
    assert "refused the registration" in said and SECRET not in said and len(said) < 400


@pytest.mark.parametrize("fault", FOR_NOW)
def test_a_broker_that_may_be_well_later_is_asked_again_until_it_is(fault, log_lines):
    async def test():
        broker = BrokenBroker()
        broker.broken["register"] = FAULTS[fault]
        timers = {"call_timeout_s": 0.3}
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker, wait_ready=False, timers=timers) as s:
            await broker.until(lambda: broker.spoiled("register") >= 2)
            assert not s.running.done()
            (told,) = s.publisher.status().brokers
            assert told.state == "registering"
            del broker.broken["register"]
            await broker.ready()
            assert (await s.ends(WHOLE)).last["status"] == 200
            await s.the_other_answers()

    play(test())


@pytest.mark.parametrize("fault", ["endless", "endless error"])
def test_an_answer_without_end_is_not_kept(fault):
    """It is given up at its size, long before its time is over."""

    async def test():
        broker = BrokenBroker()
        broker.broken["register"] = FAULTS[fault]
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker, wait_ready=False) as s:
            began = time.monotonic()
            await broker.until(lambda: broker.spoiled("register") >= 2)
            assert time.monotonic() - began < 4
            assert not s.running.done()

    play(test())


@pytest.mark.parametrize("session", ["", "a\\r\\nX-Evil: 1", "../../etc", "ü", "x" * 200])
def test_a_session_that_is_no_id_is_refused_before_it_is_used(session, log_lines):
    async def test():
        broker = BrokenBroker()
        said = '{"providerSessionId": "%s", "heartbeatSeconds": 30, "protocol": 1, "llms": [], "agents": []}' % session
        broker.broken["register"] = says(201, said.encode())
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker, wait_ready=False) as s:
            async with asyncio.timeout(10):
                assert await s.running == 1

    play(test())
    assert any("does not answer like a Reveille broker" in line for line in log_lines)


@pytest.mark.parametrize("heartbeat", ["0", "-1", "1e300"])
def test_a_pace_of_heartbeats_that_makes_no_sense_is_survived(heartbeat):
    async def test():
        broker = BrokenBroker()
        said = '{"providerSessionId": "s1", "heartbeatSeconds": %s, "protocol": 1, "llms": [], "agents": []}' % heartbeat
        broker.broken["register"] = says(201, said.encode())
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker) as s:
            assert (await s.ends(WHOLE)).last["status"] == 200
            await s.the_other_answers()

    play(test())


def test_a_token_that_no_header_can_hold_is_said_so_without_the_token(log_lines):
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(well) as backend:
            async with side_by_side(backend.url, broker=broker, wait_ready=False, token="secret-token\n") as s:
                async with asyncio.timeout(10):
                    assert await s.running == 1
                assert not broker.calls

    play(test())
    assert any("check its address and the token" in line for line in log_lines)


def test_a_stop_does_not_wait_for_a_broker_that_hangs():
    async def test():
        broker = BrokenBroker()
        broker.broken["register"] = FAULTS["hangs"]
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker, wait_ready=False) as s:
            await broker.until(lambda: bool(broker.calls))
            s.publisher.stop()
            async with asyncio.timeout(10):
                assert await s.running == 0

    play(test())


def test_a_broker_that_answers_the_registration_and_then_is_another_program_is_not_believed():
    """As a port that is taken over: the first word is right, then every byte is wrong."""

    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker) as s:
            for call in ("register", "heartbeat", "status", "stream", "results", "goodbye"):
                broker.broken[call] = writes(b"220 mail.example ESMTP\r\n")
            await broker.drop_channel()
            await broker.until(lambda: broker.spoiled("stream") >= 4)
            assert not s.running.done()
            broker.broken.clear()
            await broker.ready()
            assert (await s.ends(WHOLE)).last["status"] == 200

    play(test())
