"""A request's own time: ``X-Deadline-Seconds``, and the broker's limit."""

from __future__ import annotations

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked, stream
from tests.support.waiting import eventually


async def test_past_its_deadline_a_request_is_504_and_cancelled_at_the_publisher(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m", headers={"X-Deadline-Seconds": "0.2"}))
        frame = await provider.next()
        assert 0 < frame["deadlineMs"] <= 200
        status, body, _ = await client
        assert status == 504 and body["error"]["code"] == "deadline_exceeded"
        word = await provider.next("cancel", 1.0)
        assert word["taskId"] == frame["taskId"] and word["reason"] == "deadline_exceeded"
        await provider.fail(frame, "stopped")


async def test_the_brokers_own_deadline_holds_without_the_header(redis_real):
    async with replica(redis_real, deadline_seconds=0.2) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        assert (await client)[0] == 504
        await provider.next("cancel", 1.0)
        await provider.fail(frame, "stopped")


async def test_a_request_may_shorten_the_deadline_only(redis_real):
    async with replica(redis_real, deadline_seconds=5) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m", headers={"X-Deadline-Seconds": "9000"}))
        frame = await provider.next()
        assert frame["deadlineMs"] <= 5000
        await provider.answer(frame)
        assert (await client)[0] == 200


@pytest.mark.parametrize("value", ["0", "-1", "soon", "", "nan", "inf", "1,5"])
async def test_a_deadline_that_is_no_time_is_422(redis_real, value):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        status, body, _ = await broker.chat("m", headers={"X-Deadline-Seconds": value})
        assert status == 422 and body["error"]["param"] == "X-Deadline-Seconds"
        assert provider.frames.empty()


async def test_a_deadline_in_the_middle_of_a_stream_is_an_error_event(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        client = asked(stream(broker, "m", headers={"X-Deadline-Seconds": "0.3"}))
        frame = await provider.next()
        await provider.chunk(frame, "a")
        said = await client
        assert said.payloads[0] == b"a" and said.error["status"] == 504 and said.error["code"] == "deadline_exceeded"
        assert (await provider.next("cancel", 1.0))["reason"] == "deadline_exceeded"
        await provider.fail(frame, "stopped")


async def test_the_time_in_line_counts_towards_the_deadline_in_the_frame(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m"))
        frame = await provider.next()
        second = asked(broker.chat("m", headers={"X-Deadline-Seconds": "10"}))
        await eventually(lambda: redis_at.read("waiting:m"))
        await provider.answer(frame)
        await first
        frame = await provider.next()
        assert 5000 < frame["deadlineMs"] <= 10_000
        await provider.answer(frame)
        assert (await second)[0] == 200


async def test_a_late_answer_after_the_deadline_is_taken_once_and_reaches_nobody(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        client = asked(broker.chat("m", headers={"X-Deadline-Seconds": "0.1"}))
        frame = await provider.next()
        assert (await client)[0] == 504
        await provider.next("cancel", 1.0)
        assert [(await provider.answer(frame))[0] for _ in range(2)] == [200, 404]
