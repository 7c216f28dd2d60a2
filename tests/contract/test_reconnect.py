"""A publisher that loses its channel and comes back: what goes on, what is given again, what ends."""

from __future__ import annotations

import asyncio

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked, stream
from tests.support.waiting import eventually


async def offline(broker) -> None:
    await broker.until_status("m", "inactive")


async def test_results_sent_while_the_channel_is_down_reach_the_client(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker, Provider(broker, "m", instance="i") as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "a", seq=0)
        await provider.close()
        await offline(broker)
        assert (await provider.chunk(frame, "b", seq=1))[0] == 200
        await provider.open()
        assert (await provider.next())["taskId"] == frame["taskId"]
        await provider.chunk(frame, "[DONE]", done=True, seq=2)
        assert (await client).payloads == [b"a", b"b", b"[DONE]"]


async def test_a_task_may_even_end_while_the_channel_is_down(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker, Provider(broker, "m", instance="i") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        await provider.close()
        await offline(broker)
        await provider.answer(frame)
        assert (await client)[0] == 200
        await provider.open()
        assert provider.frames.empty()


async def test_a_newer_channel_is_given_the_unfinished_tasks_again_in_order(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker:
        async with Provider(broker, "m", instance="i", slots=3) as provider:
            clients, frames = [], []
            for number in range(3):
                clients.append(asked(broker.chat("m", number=number)))
                frames.append(await provider.next())
            await provider.answer(frames[1])
            await provider.close()
            await offline(broker)
            await provider.open()
            again = [await provider.next(), await provider.next()]
            assert [frame["taskId"] for frame in again] == [frames[0]["taskId"], frames[2]["taskId"]]
            assert [frame["request"] for frame in again] == [frames[0]["request"], frames[2]["request"]]
            for frame in again:
                await provider.answer(frame)
            assert [status for status, *_ in await asyncio.gather(*clients)] == [200] * 3


async def test_a_publisher_without_an_instance_is_given_its_tasks_again_too(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        await provider.close()
        await offline(broker)
        await provider.open()
        assert (await provider.next())["taskId"] == frame["taskId"]
        await provider.answer(frame)
        assert (await client)[0] == 200


async def test_another_instance_ends_the_tasks_of_the_one_before_at_once(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker, Provider(broker, "m", instance="i") as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "a")
        await provider.close()
        await offline(broker)
        async with Provider(broker, "m", session=provider.session, instance="j") as restarted:
            said = await client
            assert said.error["status"] == 503 and said.error["code"] == "publisher_offline"
            assert restarted.frames.empty()
            assert (await restarted.answer(frame))[0] == 404
            client = asked(broker.chat("m"))
            await restarted.answer(await restarted.next())
            assert (await client)[0] == 200


async def test_those_who_wait_in_line_are_served_by_another_instance(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker, Provider(broker, "m", instance="i") as provider:
        running = asked(broker.chat("m"))
        await provider.next()
        waiting = asked(broker.chat("m", number=2))
        await eventually(lambda: redis_at.read("waiting:m"))
        await provider.close()
        await offline(broker)
        async with Provider(broker, "m", session=provider.session, instance="j") as restarted:
            assert (await running)[0] == 503
            frame = await restarted.next()
            assert frame["request"]["number"] == 2
            await restarted.answer(frame)
            assert (await waiting)[0] == 200


async def test_without_a_grace_running_work_is_refused_at_once(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0) as broker, Provider(broker, "m", slots=1) as provider:
        running = asked(broker.chat("m"))
        frame = await provider.next()
        waiting = asked(broker.chat("m"))
        await eventually(lambda: redis_at.read("waiting:m"))
        await provider.close()
        for client in (running, waiting):
            status, body, _ = await client
            assert status == 503 and "publisher" in body["error"]["message"] and "offline" in body["error"]["message"]
        assert (await provider.answer(frame))[0] == 404


async def test_a_cancel_that_came_while_the_channel_was_down_is_told_on_the_next(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker, Provider(broker, "m", instance="i") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        await provider.close()
        await offline(broker)
        client.cancel()
        await asyncio.wait({client})

        async def cancelling() -> bool:
            return (await redis_at.read(f"task:{frame['taskId']}"))[b"state"] == b"cancelling"

        await eventually(cancelling)
        await provider.open()
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        assert (await provider.fail(frame, "stopped"))[0] == 200


async def test_the_newest_channel_takes_over_and_the_older_is_told_last(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m", instance="i") as old:
        client = asked(one.chat("m"))
        frame = await old.next()
        async with Provider(two, "m", session=old.session, instance="i") as new:
            await old.next("superseded")
            await asyncio.wait_for(old.closed.wait(), 5)
            assert (await new.next())["taskId"] == frame["taskId"]
            await new.answer(frame)
            assert (await client)[0] == 200
            assert (await two.llm("m"))["status"] == "active"


async def test_a_superseded_channel_gets_no_more_work(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as old:
        async with Provider(broker, "m", session=old.session) as new:
            await old.next("superseded")
            client = asked(broker.chat("m"))
            await new.answer(await new.next())
            assert (await client)[0] == 200 and old.frames.empty()


async def test_reconnecting_over_and_over_loses_and_doubles_nothing(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as one, replica(redis_at, reconnect_grace_seconds=20) as two:
        async with Provider(one, "m", instance="i", slots=2) as provider:
            clients = [asked((one, two)[number % 2].chat("m", number=number)) for number in range(12)]

            async def all_are_in() -> bool:
                return len(await redis_at.read("waiting:m") or ()) == 10

            await eventually(all_are_in)  # who asks while the publisher is away would be refused
            answered: set[str] = set()
            while len(answered) < 12:
                frame = await provider.next()
                if frame["taskId"] in answered:
                    continue
                if len(answered) % 3 == 2:
                    await provider.close()
                    provider.move_to((one, two)[len(answered) % 2])
                    await provider.open()
                assert (await provider.answer(frame, {"number": frame["request"]["number"]}))[0] == 200
                answered.add(frame["taskId"])
            answers = await asyncio.gather(*clients)
            assert [body["number"] for _, body, _ in answers] == list(range(12))
