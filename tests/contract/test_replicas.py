"""Replicas: any of them serves, one that leaves sends its publishers elsewhere, one that dies costs only its own clients."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked, stream
from tests.support.waiting import eventually

QUICK_DEATH = {"replica_ttl_seconds": 0.4, "reconnect_grace_seconds": 3}


async def closed(place, session: str) -> bool:
    return (await place.read(f"session:{session}"))[b"channel"] == b""


async def test_a_client_at_any_replica_reaches_a_publisher_at_any_other(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, replica(redis_at) as three:
        async with Provider(two, "m", slots=3) as provider:
            clients = [asked(broker.chat("m")) for broker in (one, two, three)]
            for _ in clients:
                await provider.answer(await provider.next())
            assert [status for status, *_ in await asyncio.gather(*clients)] == [200] * 3


async def test_a_replica_that_started_just_now_answers_as_the_others_do(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        async with replica(redis_at) as fresh:
            assert await fresh.llm("m") == await broker.llm("m")
            client = asked(fresh.chat("m"))
            await provider.answer(await provider.next())
            assert (await client)[0] == 200


async def test_a_replica_that_shuts_down_tells_its_publishers_when_to_come_back(redis_at):
    async with replica(redis_at) as leaving, Provider(leaving, "m") as provider:
        await leaving.broker.drain(0)
        frame = await provider.next("shutdown")
        assert frame["retryMs"] > 0
        await asyncio.wait_for(provider.closed.wait(), 5)
        assert (await leaving.chat("m"))[0] == 503


async def test_while_its_publisher_moves_the_llm_stays_live_and_requests_queue(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker:
        async with replica(redis_at, reconnect_grace_seconds=20) as leaving, Provider(leaving, "m", slots=2) as provider:
            await leaving.broker.drain(0)
            await provider.next("shutdown")
            await eventually(lambda: closed(redis_at, provider.session))
            assert (await broker.llm("m"))["status"] == "active"
            clients = [asked(broker.chat("m", number=number)) for number in range(3)]
            await eventually(lambda: redis_at.read("waiting:m"))
            provider.move_to(broker)
            await provider.open()
            for number in range(3):
                await provider.answer(await provider.next())
            assert [status for status, *_ in await asyncio.gather(*clients)] == [200] * 3


async def test_a_running_task_survives_the_shutdown_of_its_publishers_replica(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker:
        async with replica(redis_at, reconnect_grace_seconds=20) as leaving:
            provider = Provider(leaving, "m", instance="i")
            async with provider:
                client = asked(stream(broker, "m"))
                frame = await provider.next()
                await provider.chunk(frame, "a", seq=0)
                await leaving.broker.drain(0)
                await provider.next("shutdown")
                provider.move_to(broker)
                await provider.chunk(frame, "b", seq=1)
                await provider.open()
                assert (await provider.next())["taskId"] == frame["taskId"]
                await provider.chunk(frame, "[DONE]", done=True, seq=2)
                assert (await client).payloads == [b"a", b"b", b"[DONE]"]


async def test_a_publisher_that_does_not_come_back_is_offline_after_the_grace(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0.3) as broker:
        async with replica(redis_at, reconnect_grace_seconds=0.3) as leaving, Provider(leaving, "m") as provider:
            client = asked(broker.chat("m"))
            await provider.next()
            await leaving.broker.drain(0)
            status, body, _ = await client
            assert status == 503 and body["error"]["code"] == "publisher_offline"
            assert (await broker.llm("m"))["status"] == "inactive"


async def test_a_client_of_a_replica_that_shuts_down_is_told(redis_at):
    async with replica(redis_at) as leaving, replica(redis_at) as broker, Provider(broker, "m", slots=2) as provider:
        whole, streamed = asked(leaving.chat("m")), asked(stream(leaving, "m"))
        frames = [await provider.next(), await provider.next()]
        await provider.chunk(next(frame for frame in frames if frame["streaming"]), "a")
        await eventually(lambda: leaving.broker.relay.running == 2)
        await leaving.broker.drain(0)
        status, body, _ = await whole
        assert status == 503 and body["error"]["code"] == "broker_stopped"
        assert (await streamed).status in (200, 503)
        if (await streamed).status == 200:
            assert (await streamed).error["code"] == "broker_stopped"
        words = {(await provider.next("cancel", 1.0))["taskId"] for _ in frames}
        assert words == {frame["taskId"] for frame in frames}
        for frame in frames:
            await provider.fail(frame, "stopped")


async def test_a_dead_replicas_requests_are_cancelled_at_the_publisher(redis_at):
    async with replica(redis_at, **QUICK_DEATH) as broker, replica(redis_at, **QUICK_DEATH) as dying:
        async with Provider(broker, "m", slots=1) as provider:
            lost = asked(dying.chat("m"))
            frame = await provider.next()
            waiting = asked(dying.chat("m"))
            await eventually(lambda: redis_at.read("waiting:m"))
            await dying.die()
            for client in (lost, waiting):
                with pytest.raises(aiohttp.ClientError):
                    await client
            assert (await provider.next("cancel", 5))["taskId"] == frame["taskId"]
            await provider.fail(frame, "stopped")
            client = asked(broker.chat("m", number=2))
            frame = await provider.next()
            assert frame["request"]["number"] == 2
            await provider.answer(frame)
            assert (await client)[0] == 200


async def test_a_publisher_of_a_dead_replica_goes_on_at_another(redis_at):
    async with replica(redis_at, **QUICK_DEATH) as broker, replica(redis_at, **QUICK_DEATH) as dying:
        async with Provider(dying, "m", instance="i") as provider:
            client = asked(stream(broker, "m"))
            frame = await provider.next()
            await provider.chunk(frame, "a", seq=0)
            await dying.die()
            await asyncio.wait_for(provider.closed.wait(), 5)
            provider.move_to(broker)
            await provider.open()
            assert (await provider.next())["taskId"] == frame["taskId"]
            await provider.chunk(frame, "[DONE]", done=True, seq=1)
            assert (await client).payloads == [b"a", b"[DONE]"]


async def test_requests_queue_for_the_publisher_of_a_dead_replica(redis_at):
    async with replica(redis_at, **QUICK_DEATH) as broker, replica(redis_at, **QUICK_DEATH) as dying:
        async with Provider(dying, "m", instance="i") as provider:
            await dying.die()
            await eventually(lambda: closed(redis_at, provider.session))
            assert (await broker.llm("m"))["status"] == "active"
            client = asked(broker.chat("m"))
            await eventually(lambda: redis_at.read("leases:m"))
            provider.move_to(broker)
            await provider.open()
            await provider.answer(await provider.next())
            assert (await client)[0] == 200


async def test_a_dead_replicas_publisher_that_stays_away_is_offline_after_the_grace(redis_at):
    settings = {"replica_ttl_seconds": 0.3, "reconnect_grace_seconds": 0.3}
    async with replica(redis_at, **settings) as broker, replica(redis_at, **settings) as dying:
        async with Provider(dying, "m") as provider:
            client = asked(broker.chat("m"))
            await provider.next()
            await dying.die()
            status, body, _ = await client
            assert status == 503 and body["error"]["code"] == "publisher_offline"
            await broker.until_status("m", "inactive")


async def test_nothing_of_a_dead_replica_is_left(redis_at):
    async with replica(redis_at, **QUICK_DEATH) as broker, replica(redis_at, **QUICK_DEATH) as dying:
        async with Provider(dying, "m"):
            name = dying.broker.store.replica.name
            await dying.die()

            async def gone() -> bool:
                keys = [key for key in await redis_at.keys() if name.encode() in key]
                return not keys and name.encode() not in dict(await redis_at.read("replicas"))

            await eventually(gone)


async def test_a_replica_taken_for_dead_tells_its_clients_and_serves_again(redis_at):
    async with replica(redis_at, **QUICK_DEATH) as broker, replica(redis_at, **QUICK_DEATH) as frozen:
        async with Provider(broker, "m", slots=1) as provider:
            beats = frozen.broker.store.replica.beat
            frozen.broker.store.replica.beat = _nothing
            client = asked(frozen.chat("m"))
            frame = await provider.next()
            assert (await provider.next("cancel", 5))["taskId"] == frame["taskId"]
            await provider.fail(frame, "stopped")
            frozen.broker.store.replica.beat = beats
            status, body, _ = await client
            assert status == 503 and body["error"]["code"] == "broker_restarted"
            again = asked(frozen.chat("m"))
            await provider.answer(await provider.next())
            assert (await again)[0] == 200


async def test_a_replica_that_comes_back_while_it_is_buried_is_told(redis_at):
    settings = {"replica_ttl_seconds": 0.3, "tick_seconds": 60}
    async with replica(redis_at, **settings) as broker, replica(redis_at, **settings) as frozen:
        async with Provider(broker, "m") as provider:
            beats = frozen.broker.store.replica.beat
            frozen.broker.store.replica.beat = _nothing
            client = asked(frozen.chat("m"))
            frame = await provider.next()
            await eventually(broker.broker.store.replica.reap)
            assert await beats() is False
            frozen.broker.store.replica.beat = beats
            frozen.broker.post.void()
            assert (await client)[0] == 503
            assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
            await provider.fail(frame, "stopped")


async def _nothing(**_) -> bool:
    return True
