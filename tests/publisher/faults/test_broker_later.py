"""A broker that breaks while the publisher runs: heartbeats, statuses, the channel, the results."""

from __future__ import annotations

import asyncio
import time

import pytest

from publisher.config.values import Command, Recipe
from tests.publisher.faults.side_by_side import STREAM, WHOLE, side_by_side
from tests.publisher.running import play
from tests.support.broken_backend import BrokenBackend, event, loading, two_words, well
from tests.support.broken_broker import FAULTS, SECRET, BrokenBroker, says

QUICK = {"call_timeout_s": 0.3, "silence_s": 0.3}
NEVER = Recipe((Command("false"),))  # makes a model that can be asleep
ANY = list(FAULTS)


def test_every_fault_of_a_heartbeat_is_survived_and_disturbs_no_task(log_lines):
    async def test(fault):
        broker = BrokenBroker(heartbeat_s=0.02)
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker, timers=QUICK) as s:
            broker.broken["heartbeat"] = FAULTS[fault]
            seen = broker.spoiled("heartbeat")
            await broker.until(lambda: broker.spoiled("heartbeat") >= seen + 2)
            await broker.ready()
            assert (await s.ends(WHOLE)).last["status"] == 200
            await s.the_other_answers()
            del broker.broken["heartbeat"]
            seen = broker.spoiled("heartbeat")
            await broker.until(lambda: broker.spoiled("heartbeat") >= seen + 2)

    for fault in ANY:
        play(test(fault))
    assert not any(SECRET in line for line in log_lines)


@pytest.mark.parametrize("fault", ANY)
def test_a_status_that_could_not_be_told_is_told_once_the_broker_is_well(fault):
    """A success that is nonsense counts as one: there is nothing in it that could be read."""

    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(well) as backend:
            async with side_by_side(backend.url, broker=broker, timers=QUICK, wake=NEVER) as s:
                broker.broken["status"] = FAULTS[fault]
                backend.models = loading
                await broker.until(lambda: broker.spoiled("status") >= 1)
                await s.the_other_answers()
                if fault in BELIEVED:
                    return
                await broker.until(lambda: broker.spoiled("status") >= 2)
                del broker.broken["status"]
                await broker.until(lambda: ("broken", "hibernating") in broker.statuses)

    play(test())


BELIEVED = ("html", "204", "empty", "nonsense", "null", "deep", "no text")


@pytest.mark.parametrize("fault", ANY)
def test_a_channel_that_cannot_be_opened_is_tried_again_and_running_work_goes_on(fault, log_lines):
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(two_words) as backend, side_by_side(backend.url, broker=broker, timers=QUICK) as s:
            told = await s.broken(STREAM)
            await broker.until(lambda: bool(told.payloads))
            broker.broken["stream"] = FAULTS[fault]
            before = broker.spoiled("stream")
            await broker.drop_channel()
            await broker.until(lambda: broker.spoiled("stream") >= before + 3)
            (link,) = s.publisher.status().brokers
            backend.asked[0].go_on.set()
            assert (await broker.ended(told)).payloads[-1] == "[DONE]"
            assert link.last_error and SECRET not in link.last_error
            del broker.broken["stream"]
            await broker.ready()
            await s.the_other_answers()

    play(test())
    assert not any(SECRET in line for line in log_lines)


@pytest.mark.parametrize("fault", ANY)
def test_results_that_cannot_be_delivered_are_delivered_later_whole(fault):
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(two_words) as backend, side_by_side(backend.url, broker=broker, timers=QUICK) as s:
            told = await s.broken(STREAM)
            await broker.until(lambda: bool(told.payloads))
            broker.broken["results"] = FAULTS[fault]
            before = broker.spoiled("results")
            backend.asked[0].go_on.set()
            await broker.until(lambda: broker.spoiled("results") >= before + 2)
            assert not told.ended
            del broker.broken["results"]
            await broker.ended(told)
            assert told.text.encode() == event("one") + event("two") + b"data: [DONE]\n\n"
            await broker.ready()
            await s.the_other_answers()

    play(test())


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_answer_that_the_broker_does_not_take_is_an_error_for_its_task_alone(status):
    async def test():
        broker = BrokenBroker()
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker) as s:
            refuses = says(status, b'{"error": {"message": "too large"}}')

            async def once(request):
                broker.broken.pop("results")
                return await refuses(request)

            broker.broken["results"] = once
            assert "too large" in await s.fails(WHOLE)
            await s.the_other_answers()

    play(test())


# ── no hurry, and patience ────────────────────────────────────────────────────


@pytest.mark.parametrize("call", ["stream", "results"])
def test_a_broker_that_registers_us_and_never_knows_us_is_not_asked_in_a_hurry(call):
    async def test():
        broker = BrokenBroker()
        timers = {"retry_first_s": 0.1, "retry_most_s": 0.1, "results_retry_first_s": 0.1, "results_retry_most_s": 0.1}
        async with BrokenBackend(well) as backend, side_by_side(backend.url, broker=broker, timers=timers) as s:
            broker.broken[call] = says(404, b'{"error": {"message": "no such session", "code": "unknown_session"}}')
            told = await s.broken(WHOLE)
            await broker.drop_channel()
            began, before = time.monotonic(), broker.spoiled("register")
            await broker.until(lambda: broker.spoiled("register") >= before + 12)
            took_s = time.monotonic() - began
            assert took_s > 0.2, f"{took_s:.3f} s for 12 registrations"
            del broker.broken[call]
            await broker.ended(told)
            await broker.ready()
            await s.the_other_answers()

    play(test())


def test_a_broker_that_is_away_for_an_hour_of_retries_finds_everything_as_it_was():
    """All timers are a hundredth or less of the real ones: this is more retries than in an hour."""

    async def test():
        broker = BrokenBroker(heartbeat_s=0.02)
        async with BrokenBackend(two_words) as backend, side_by_side(backend.url, broker=broker, timers=QUICK, wake=NEVER) as s:
            told = await s.broken(STREAM)
            await broker.until(lambda: bool(told.payloads))
            for call in ("register", "heartbeat", "status", "stream", "results", "goodbye"):
                broker.broken[call] = FAULTS["resets"]
            await broker.drop_channel()
            backend.asked[0].go_on.set()
            await backend.until(lambda: not backend.busy)
            backend.models = loading
            await broker.until(lambda: len(broker.calls) >= 400)
            assert not s.running.done() and len(asyncio.all_tasks()) < 60
            broker.broken.clear()
            await broker.ready()
            await broker.ended(told)
            assert told.text.encode() == event("one") + event("two") + b"data: [DONE]\n\n"
            await broker.until(lambda: ("broken", "hibernating") in broker.statuses)
            await s.the_other_answers()

    play(test())


def test_a_broker_that_closes_every_connection_after_its_answer_is_no_obstacle():
    async def test():
        broker = BrokenBroker(heartbeat_s=0.02)
        async with BrokenBackend(two_words, keeps=False) as backend, side_by_side(backend.url, broker=broker) as s:
            closing = BrokenBroker._noted

            async def noted(call, request):
                refusal = await closing(broker, call, request)
                if call != "stream" and request.transport is not None:
                    asyncio.get_running_loop().call_later(0.005, request.transport.close)
                return refusal

            broker._noted = noted
            told = await s.broken(STREAM)
            await broker.until(lambda: bool(told.payloads))
            backend.asked[0].go_on.set()
            assert (await broker.ended(told)).payloads[-1] == "[DONE]"
            before = broker.spoiled("heartbeat")
            await broker.until(lambda: broker.spoiled("heartbeat") > before + 5)
            await s.the_other_answers()

    play(test())
