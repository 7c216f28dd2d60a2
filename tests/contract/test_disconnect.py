"""The end of a channel: by its publisher, by the broker, by a newer one, by goodbye."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.rows import agent

#: Long enough that nothing in a test can be the grace's doing.
LONG = {"reconnect_grace_seconds": 30}


async def refused(asking) -> None:
    status, body, _ = await asyncio.wait_for(asking, 5)
    assert status == 503 and body["error"]["code"] == "publisher_offline", body
    assert "offline" in body["error"]["message"] or "publisher" in body["error"]["message"]


async def test_rows_turn_inactive_at_once_when_the_channel_closes(redis_at):
    bots = [{"name": "bot", "llmName": "a"}]
    async with replica(redis_at, **LONG) as broker, Provider(broker, "a", "b", agents=bots) as provider:
        await provider.close()
        for name in ("a", "b"):
            row = await broker.until_status(name, "inactive")
            assert row["inactiveSince"] and row["channel"] is False
        assert (await agent(redis_at, "bot"))["status"] == "inactive"


async def test_a_reset_connection_is_a_disconnect_too(redis_at):
    async with replica(redis_at, **LONG) as broker, Provider(broker, "m") as provider:
        provider._response.connection.transport.abort()
        await broker.until_status("m", "inactive")


async def test_new_requests_get_503_publisher_offline_at_once(redis_at):
    async with replica(redis_at, **LONG) as broker, Provider(broker, "m") as provider:
        await provider.close()
        await broker.until_status("m", "inactive")
        status, body, headers = await broker.chat("m")
        assert status == 503 and "publisher offline" in body["error"]["message"] and headers["Retry-After"]


async def test_tasks_in_flight_are_refused_when_the_grace_is_over(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=1.0) as broker, Provider(broker, "m") as provider:
        asking = asyncio.create_task(broker.chat("m"))
        await provider.next()
        await provider.close()
        await broker.until_status("m", "inactive")
        assert not asking.done()
        await refused(asking)


async def test_without_grace_tasks_in_flight_are_refused_at_once(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0, tick_seconds=100) as broker, Provider(broker, "m") as provider:
        asking = asyncio.create_task(broker.chat("m"))
        await provider.next()
        await provider.close()
        await refused(asking)


async def test_requests_that_wait_for_a_slot_are_refused_with_the_session(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0.1) as broker, Provider(broker, "m", slots=1) as provider:
        asking = [asyncio.create_task(broker.chat("m")) for _ in range(3)]
        await provider.next()
        await provider.close()
        for one in asking:
            await refused(one)


async def test_the_same_instance_in_time_goes_on_with_its_running_tasks(redis_at):
    async with replica(redis_at, **LONG) as broker, Provider(broker, "m", instance="run-1") as provider:
        asking = asyncio.create_task(broker.chat("m"))
        frame = await provider.next()
        await provider.close()
        await broker.until_status("m", "inactive")
        await provider.open()
        assert (await provider.next())["taskId"] == frame["taskId"]
        assert (await provider.answer(frame, {"late": 1}))[0] == 200
        assert (await asking)[:2] == (200, {"late": 1})
        assert (await broker.llm("m"))["status"] == "active"


async def test_another_instance_ends_running_tasks_at_once(redis_at):
    async with replica(redis_at, **LONG) as broker, Provider(broker, "m", instance="run-1") as provider:
        asking = asyncio.create_task(broker.chat("m"))
        frame = await provider.next()
        await provider.close()
        async with Provider(broker, "m", session=provider.session, instance="run-2") as again:
            await refused(asking)
            assert (await again.answer(frame))[0] == 404


async def test_a_wake_in_flight_fails_at_once_without_grace(redis_at):
    async with replica(redis_at, **LONG) as broker, Provider(broker, "m", initialStatus="hibernating") as provider:
        asking = asyncio.create_task(broker.chat("m"))
        await provider.next("wake")
        await provider.close()
        await refused(asking)


async def test_rows_stay_live_when_the_broker_closes_the_channel(redis_at):
    async with replica(redis_at, **LONG) as staying:
        async with replica(redis_at, **LONG) as leaving, Provider(leaving, "m") as provider:
            await leaving.broker.drain(0)
            assert (await provider.next("shutdown"))["retryMs"] > 0
            async with asyncio.timeout(20):
                await provider.closed.wait()
            row = await staying.llm("m")
            assert row["status"] == "active"


async def test_requests_queue_while_the_publisher_moves_to_another_replica(redis_at):
    async with replica(redis_at, **LONG) as staying:
        async with replica(redis_at, **LONG) as leaving, Provider(leaving, "m", instance="run-1") as provider:
            running = asyncio.create_task(staying.chat("m"))
            frame = await provider.next()
            await leaving.broker.drain(0)
            await provider.next("shutdown")
            await provider.closed.wait()
            queued = asyncio.create_task(staying.chat("m"))
            provider.move_to(staying)
            await provider.open()
            seen = {(await provider.next())["taskId"]} if queued.done() else {frame["taskId"]}
            while len(seen) < 2 or not provider.frames.empty():
                given = await _next_or_answer(provider, seen)
                if given is None:
                    break
            assert (await running)[0] == 200 and (await queued)[0] == 200


async def _next_or_answer(provider: Provider, seen: set) -> dict | None:
    frame = await provider.next()
    seen.add(frame["taskId"])
    await provider.answer(frame)
    return frame


async def test_a_publisher_that_does_not_come_back_from_the_brokers_close_is_offline(redis_at):
    timers = {"reconnect_grace_seconds": 0.3}
    async with replica(redis_at, **timers) as staying:
        async with replica(redis_at, **timers) as leaving, Provider(leaving, "m") as provider:
            asking = asyncio.create_task(staying.chat("m"))
            await provider.next()
            await leaving.broker.drain(0)
            await refused(asking)
            await staying.until_status("m", "inactive")


async def test_goodbye_turns_rows_inactive_at_once(redis_at):
    async with replica(redis_at, **LONG) as broker, Provider(broker, "m") as provider:
        assert (await provider.post("/_provider-goodbye"))[0] == 200
        assert (await broker.llm("m"))["status"] == "inactive"
        assert (await broker.chat("m"))[0] == 503


async def test_after_goodbye_what_runs_may_end(redis_at):
    async with replica(redis_at, **LONG) as broker, Provider(broker, "m") as provider:
        asking = asyncio.create_task(broker.chat("m"))
        frame = await provider.next()
        await provider.post("/_provider-goodbye")
        assert (await provider.answer(frame))[0] == 200
        assert (await asking)[0] == 200


async def test_after_goodbye_the_channels_end_leaves_no_grace(redis_at):
    async with replica(redis_at, **LONG) as broker, Provider(broker, "m") as provider:
        asking = asyncio.create_task(broker.chat("m"))
        await provider.next()
        await provider.post("/_provider-goodbye")
        await provider.close()
        await refused(asking)


async def test_the_newest_channel_wins_and_the_older_is_told_so_last(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as old:
        new = Provider(other, "m", session=old.session)
        await new.open()
        try:
            assert await old.next("superseded") == {"kind": "superseded"}
            async with asyncio.timeout(20):
                await old.closed.wait()
            assert old.frames.empty()
            asking = asyncio.create_task(broker.chat("m"))
            await new.answer(await new.next())
            assert (await asking)[0] == 200
        finally:
            await new.close()


async def test_the_end_of_a_superseded_channel_changes_nothing(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0) as broker, Provider(broker, "m", instance="one") as old:
        asking = asyncio.create_task(broker.chat("m"))
        await old.next()
        new = Provider(broker, "m", session=old.session, instance="one")
        await new.open()
        try:
            frame = await new.next()
            await old.next("superseded")
            await old.close()
            await broker.broker.post.finish(2)
            row = await broker.llm("m")
            assert row["status"] == "active" and row["channel"] is True
            await new.answer(frame)
            assert (await asking)[0] == 200
        finally:
            await new.close()


@pytest.mark.parametrize("how", ["close", "goodbye"])
async def test_a_session_comes_back_under_the_same_ids_after_it_left(redis_at, how):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        row_id = (await broker.llm("m"))["id"]
        if how == "goodbye":
            await provider.post("/_provider-goodbye")
        await provider.close()
        await broker.until_status("m", "inactive")
        assert (await provider.register())[0] == 201
        await provider.open()
        asking = asyncio.create_task(broker.chat("m"))
        await provider.answer(await provider.next())
        assert (await asking)[0] == 200 and (await broker.llm("m"))["id"] == row_id
