"""What the broker believes stays true: whatever is under way when rows change, calls are lost, or the end comes."""

from __future__ import annotations

import asyncio

import pytest

from publisher.config.values import Command, Recipe
from publisher.failures import TaskFailed
from tests.publisher.review.held import publishing
from tests.publisher.running import play, scene
from tests.support.waiting import eventually

RECIPE = Recipe((Command("true"),))
QUIET = {"availability_s": 1000.0}


def rows(broker) -> list[str]:
    return [entry["name"] for entry in broker.registrations[-1]["providers"]]


def test_a_row_that_comes_while_the_first_registration_is_under_way_is_registered_too(tmp_path):
    async def test():
        async with publishing(tmp_path, ready=False, hold="register") as s:
            [broker] = s.brokers
            await broker.until(lambda: broker.registrations)
            await s.publisher.apply(s.config(s.provider("m"), s.provider("n")))
            broker.held["register"].set()
            await broker.until(lambda: rows(broker) == ["m", "n"])

    play(test())


def test_a_stop_while_the_first_registration_is_under_way_still_says_goodbye(tmp_path, caplog):
    caplog.set_level("INFO", "publisher")

    async def test():
        async with publishing(tmp_path, ready=False, hold="register") as s:
            [broker] = s.brokers
            await broker.until(lambda: broker.registrations)
            s.publisher.stop()
            await eventually(lambda: "stopping" in caplog.text)
            broker.held["register"].set()
            assert await s.running == 0
            assert broker.calls[-1] == "goodbye"

    play(test())


def test_a_status_is_not_told_after_goodbye(tmp_path, caplog):
    caplog.set_level("INFO", "publisher")

    async def test():
        async with publishing(tmp_path, hold="status", wake=RECIPE, sleep=RECIPE, min_awake_s=0.0) as s:
            [broker] = s.brokers
            falling = asyncio.create_task(s.publisher.roster.get("m").power.down())
            await broker.until(lambda: "status" in broker.calls)
            link = next(iter(s.publisher.links))
            late = asyncio.create_task(link.tell(s.publisher.roster.get("m"), "hibernating"))
            s.publisher.stop()
            await eventually(lambda: "stopping" in caplog.text)
            broker.held["status"].set()
            assert await s.running == 0
            await asyncio.wait([late, falling])
            assert broker.calls.count("status") == 1 and broker.calls[-1] == "goodbye"
            falling.exception()

    play(test())


def test_a_status_whose_answer_was_lost_is_told_again_when_the_sleep_is_called_off(tmp_path):
    async def test():
        async with publishing(tmp_path, 2, timers=QUIET, wake=RECIPE, sleep=RECIPE, min_awake_s=0.0) as s:
            first, second = s.brokers
            first.refuse["status"] = [(503, "taken in, and the answer lost")]
            second.refuse["status"] = [(409, "work is queued")]
            with pytest.raises(TaskFailed, match="work on its way"):
                await s.publisher.roster.get("m").power.down()
            await first.until(lambda: first.statuses == [("m", "active")])

    play(test())


def test_a_wake_whose_session_was_lost_meanwhile_is_told_to_the_new_one():
    def asleep(broker, backend):
        backend.up = False

    async def test():
        async with scene(wake=Command("true"), prepare=asleep, heartbeat_s=0.05, timers=QUIET) as s:
            await s.broker.order("wake")
            await s.backend.until(lambda: s.backend.checks >= 3)
            s.broker.refuse["heartbeat"] = [(404, "unknown session")]
            await s.broker.until(lambda: len(s.broker.registrations) == 2)
            assert s.broker.registrations[1]["providers"][0]["initialStatus"] == "hibernating"
            s.backend.up = True
            await s.broker.until(lambda: s.broker.statuses == [("m", "active")])

    play(test())


def test_another_broker_is_joined_while_the_one_before_still_has_work(tmp_path):
    async def test():
        async with publishing(tmp_path, 2, slice(1)) as s:
            first, second = s.brokers
            told = await first.infer({"messages": [], "script": {"hang": "head"}})
            await s.backend.until(lambda: s.backend.seen)
            applying = asyncio.create_task(s.publisher.apply(s.config(at=[second])))
            await second.ready()
            assert not told.ended and not applying.done()
            await first.until(lambda: "goodbye" in first.calls)
            s.publisher.stop()
            s.publisher.stop()
            assert await s.running == 0
            await applying
            assert told.ended

    play(test())


def test_an_edit_with_a_token_that_is_refused_is_shown_and_mended_by_the_next(tmp_path):
    async def test():
        async with publishing(tmp_path) as s:
            [broker] = s.brokers
            broker.refuse["register"] = [(401, "send a valid token")]
            await s.publisher.apply(s.config(token="wrong"))
            await broker.until(lambda: len(broker.registrations) == 2)
            await eventually(lambda: s.publisher.status().brokers[0].state == "refused")
            assert not s.running.done()
            await s.publisher.apply(s.config(token="right"))
            await broker.until(lambda: broker.channels == 2)

    play(test())


def test_an_edit_after_the_stop_joins_nobody(tmp_path):
    async def test():
        async with publishing(tmp_path, 2, slice(1)) as s:
            first, second = s.brokers
            await first.infer({"messages": [], "script": {"hang": "head"}})
            await s.backend.until(lambda: s.backend.seen)
            s.publisher.stop()
            await first.until(lambda: "goodbye" in first.calls)
            await s.publisher.apply(s.config(at=[second]))
            s.publisher.stop()
            assert await s.running == 0
            assert not second.calls

    play(test())


def test_a_channel_that_opens_after_goodbye_is_closed(tmp_path):
    async def test():
        async with publishing(tmp_path) as s:
            [broker] = s.brokers
            told = await broker.infer({"messages": [], "script": {"hang": "head"}})
            await s.backend.until(lambda: s.backend.seen)
            broker.hold("stream")
            await broker.drop_channel()
            await broker.until(lambda: broker.calls.count("stream") == 2)
            s.publisher.stop()
            await broker.until(lambda: "goodbye" in broker.calls)
            broker.held["stream"].set()
            await broker.until(lambda: broker.channels == 2)
            await eventually(lambda: not broker.channel_open)
            assert not told.ended and not s.running.done()

    play(test())
