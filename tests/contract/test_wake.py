"""Wake-on-demand as the broker sees it: one wake for everybody, and what becomes of those who wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked, event_of, payloads, stream, streaming
from tests.support.waiting import eventually

WOKEN = {"status": 200, "body": {"ok": True, "ms": 1200}}


async def in_line(place, count: int) -> None:
    async def enough() -> bool:
        return len(await place.read("waiting:m") or ()) == count

    await eventually(enough)


def asleep(broker, **more) -> Provider:
    return Provider(broker, "m", initialStatus="hibernating", **more)


async def test_a_request_to_a_hibernating_llm_wakes_it_first(redis_at):
    async with replica(redis_at) as broker, asleep(broker) as provider:
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        assert wake["llmName"] == "m" and set(wake) == {"kind", "taskId", "llmName"}
        assert provider.frames.empty()
        assert (await provider.result(wake, WOKEN))[0] == 200
        frame = await provider.next()
        assert (await broker.llm("m"))["status"] == "active"
        await provider.answer(frame, {"a": 1})
        assert (await client)[:2] == (200, {"a": 1})


async def test_any_number_of_requests_on_any_replica_share_one_wake(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, asleep(one, slots=20) as provider:
        clients = [asked((one, two)[number % 2].chat("m")) for number in range(20)]
        wake = await provider.next("wake")
        await in_line(redis_at, 20)
        assert provider.frames.empty()
        await provider.result(wake, WOKEN)
        for _ in range(20):
            await provider.answer(await provider.next())
        assert {status for status, *_ in await asyncio.gather(*clients)} == {200}
        assert provider.frames.empty()


async def test_a_wake_dispatches_in_order_of_arrival_within_the_slots(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, asleep(one, slots=2) as provider:
        clients = []
        for number in range(5):
            clients.append(asked((one, two)[number % 2].chat("m", number=number)))
            await in_line(redis_at, number + 1)
        provider.move_to(two)
        await provider.result(await provider.next("wake"), WOKEN)
        running = [await provider.next(), await provider.next()]
        assert len(await redis_at.read("leases:m")) == 2 and provider.frames.empty()
        order = []
        while running:
            order.append(running[0]["request"]["number"])
            await provider.answer(running.pop(0))
            if len(order) + len(running) < 5:
                running.append(await provider.next())
        assert order == list(range(5))
        await asyncio.gather(*clients)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"error": "the recipe exited with 3"}, "the recipe exited with 3"),
        ({"status": 500, "body": {"why": "no power"}}, "no power"),
        ({"status": 302, "body": ""}, "302"),
    ],
)
async def test_a_failed_wake_refuses_everybody_with_the_reason(redis_at, result, reason):
    async with replica(redis_at) as one, replica(redis_at) as two, asleep(one) as provider:
        clients = [asked(each.chat("m")) for each in (one, two, one)]
        wake = await provider.next("wake")
        await in_line(redis_at, 3)
        assert (await provider.result(wake, result))[0] == 200
        for status, body, headers in await asyncio.gather(*clients):
            assert status == 503 and body["error"]["code"] == "wake_failed" and reason in body["error"]["message"]
            assert headers["x-should-retry"] == "false" and "Retry-After" not in headers
        assert (await one.llm("m"))["status"] == "hibernating"
        assert provider.frames.empty()


async def test_after_a_failed_wake_the_next_request_tries_afresh(redis_at):
    async with replica(redis_at) as broker, asleep(broker) as provider:
        first = asked(broker.chat("m"))
        wake = await provider.next("wake")
        await provider.fail(wake, "no")
        assert (await first)[0] == 503
        second = asked(broker.chat("m"))
        again = await provider.next("wake")
        assert again["taskId"] != wake["taskId"]
        await provider.result(again, WOKEN)
        await provider.answer(await provider.next())
        assert (await second)[0] == 200


async def test_a_failed_wake_on_a_stream_keeps_its_status(redis_real):
    async with replica(redis_real) as broker, asleep(broker) as provider:
        client = asked(stream(broker, "m"))
        await provider.fail(await provider.next("wake"), "no power")
        said = await client
        assert said.status == 503 and said.headers["x-should-retry"] == "false" and b"no power" in said.body


async def test_a_wake_that_fails_after_a_comment_is_an_event_in_the_stream(redis_real):
    async with replica(redis_real, comment_first_seconds=0.05) as broker, asleep(broker) as provider:
        async with asyncio.timeout(10), streaming(broker, "m") as response:
            assert response.status == 200 and (await event_of(response)).startswith(b":")
            await provider.fail(await provider.next("wake"), "no power")
            assert b"no power" in payloads(await response.read())[-1]


async def test_waiters_that_leave_do_not_cancel_the_wake(redis_at):
    async with replica(redis_at) as broker, asleep(broker) as provider:
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        client.cancel()
        with suppress(asyncio.CancelledError):
            await client
        await in_line(redis_at, 0)
        assert (await provider.result(wake, WOKEN))[0] == 200
        assert provider.frames.empty()
        assert (await broker.llm("m"))["status"] == "active"


async def test_a_waiter_may_give_up_by_its_deadline_and_the_wake_goes_on(redis_at):
    async with replica(redis_at) as broker, asleep(broker) as provider:
        client = asked(broker.chat("m", headers={"X-Deadline-Seconds": "0.1"}))
        wake = await provider.next("wake")
        assert (await client)[0] == 504
        await in_line(redis_at, 0)
        assert (await provider.result(wake, WOKEN))[0] == 200
        await broker.until_status("m", "active")


async def test_a_wake_may_take_longer_than_the_queue_wait(redis_real):
    async with replica(redis_real, queue_wait_seconds=0.1) as broker, asleep(broker) as provider:
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        done, _ = await asyncio.wait({client}, timeout=0.4)
        assert not done
        await provider.result(wake, WOKEN)
        await provider.answer(await provider.next())
        assert (await client)[0] == 200


async def test_a_disconnect_during_a_wake_fails_it_at_once(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker, asleep(broker) as provider:
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        await provider.close()
        status, body, _ = await client
        assert status == 503 and body["error"]["code"] == "publisher_offline"
        assert (await provider.result(wake, WOKEN))[0] == 404


async def test_a_wake_ends_at_its_limit(redis_at):
    async with replica(redis_at, wake_limit_seconds=0.2) as broker, asleep(broker) as provider:
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        status, body, _ = await client
        assert status == 503 and body["error"]["code"] == "wake_failed" and "limit" in body["error"]["message"]
        assert (await broker.llm("m"))["status"] == "hibernating"
        assert (await provider.result(wake, WOKEN))[0] == 404


async def test_a_wake_without_heartbeats_ends_with_its_session(redis_at):
    async with replica(redis_at, stale_seconds=1.0) as broker, asleep(broker) as provider:
        client = asked(broker.chat("m"))
        await provider.next("wake")
        status, body, _ = await client
        assert status == 503 and body["error"]["code"] == "publisher_offline"


@pytest.mark.parametrize("how", ["register", "status"])
async def test_saying_active_satisfies_the_wake(redis_at, how):
    async with replica(redis_at) as broker, asleep(broker) as provider:
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        if how == "register":
            await provider.register(providers=[{"name": "m", "type": "openai", "initialStatus": "active"}])
        else:
            assert (await provider.post("/_provider-status", {"llmName": "m", "status": "active"}))[0] == 200
        await provider.answer(await provider.next())
        assert (await client)[0] == 200
        assert (await provider.result(wake, WOKEN))[0] == 404


async def test_success_counts_as_a_heartbeat(redis_at):
    async with replica(redis_at) as broker, asleep(broker) as provider:
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        before = (await broker.llm("m"))["lastHeartbeatAt"]
        await provider.result(wake, WOKEN)
        frame = await provider.next()
        assert (await broker.llm("m"))["lastHeartbeatAt"] > before
        await provider.answer(frame)
        await client


async def test_falling_asleep_with_work_running_or_waking_is_409(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        sleep = {"llmName": "m", "status": "hibernating"}
        client = asked(broker.chat("m"))
        frame = await provider.next()
        assert (await provider.post("/_provider-status", sleep))[0] == 409
        await provider.answer(frame)
        await client
        assert (await provider.post("/_provider-status", sleep))[0] == 200
        assert (await broker.llm("m"))["status"] == "hibernating"
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        assert (await provider.post("/_provider-status", sleep))[0] == 409
        await provider.fail(wake, "no")
        await client


async def test_a_wake_of_another_session_is_404(redis_at):
    async with replica(redis_at) as broker, asleep(broker) as provider, Provider(broker, "other") as other:
        client = asked(broker.chat("m"))
        wake = await provider.next("wake")
        assert (await other.result(wake, WOKEN))[0] == 404
        await provider.fail(wake, "no")
        assert (await client)[0] == 503


async def test_a_wake_outlives_the_replica_that_asked_for_it(redis_at):
    async with replica(redis_at) as broker, asleep(broker) as provider:
        async with replica(redis_at) as asking:
            client = asked(asking.chat("m"))
            wake = await provider.next("wake")
            client.cancel()
            await asyncio.wait({client})
        later = asked(broker.chat("m"))
        await in_line(redis_at, 1)
        assert provider.frames.empty()
        await provider.result(wake, WOKEN)
        await provider.answer(await provider.next())
        assert (await later)[0] == 200


async def test_a_wake_moves_with_its_publisher_when_the_broker_closed_the_channel(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker:
        async with replica(redis_at, reconnect_grace_seconds=20) as leaving, asleep(leaving, instance="i") as provider:
            client = asked(broker.chat("m"))
            wake = await provider.next("wake")
            await leaving.broker.drain(0)
            await provider.next("shutdown")
            provider.move_to(broker)
            await provider.open()
            assert (await provider.next("wake"))["taskId"] == wake["taskId"]
            await provider.result(wake, WOKEN)
            await provider.answer(await provider.next())
            assert (await client)[0] == 200


async def test_the_line_of_a_wake_is_bounded_too(redis_at):
    async with replica(redis_at, queue_length=2) as broker, asleep(broker) as provider:
        clients = [asked(broker.chat("m")) for _ in range(2)]
        wake = await provider.next("wake")
        await in_line(redis_at, 2)
        assert (await broker.chat("m"))[0] == 429
        await provider.fail(wake, "no")
        await asyncio.gather(*clients)


async def test_after_a_wake_the_wait_for_a_slot_has_its_own_limit(redis_at):
    async with replica(redis_at, queue_wait_seconds=0.2) as broker, asleep(broker) as provider:
        first = asked(broker.chat("m"))
        wake = await provider.next("wake")
        second = asked(broker.chat("m"))
        await in_line(redis_at, 2)
        await provider.result(wake, WOKEN)
        frame = await provider.next()
        status, body, _ = await second
        assert (status, body["error"]["code"]) == (503, "queue_timeout")
        await in_line(redis_at, 0)
        await provider.answer(frame)
        assert (await first)[0] == 200
