"""Slots and the line: never more at a publisher than it declared, the others in order, within bounds."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.waiting import eventually


async def in_line(place, count: int) -> None:
    async def enough() -> bool:
        return len(await place.read("waiting:m") or ()) == count

    await eventually(enough)


async def test_slots_are_never_exceeded_over_several_replicas(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, replica(redis_at) as three:
        async with Provider(one, "m", slots=3) as provider:
            clients = [asked((one, two, three)[number % 3].chat("m")) for number in range(30)]
            running = [await provider.next() for _ in range(3)]
            for served in range(30):
                assert provider.frames.empty() and len(await redis_at.read("leases:m")) == len(running)
                provider.move_to((one, two, three)[served % 3])
                assert (await provider.answer(running.pop(0)))[0] == 200
                if served < 27:
                    running.append(await provider.next())
            assert not running
            assert {status for status, *_ in await asyncio.gather(*clients)} == {200}


async def test_without_a_declaration_an_llm_has_one_slot(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        clients = [asked(broker.chat("m")) for _ in range(2)]
        frame = await provider.next()
        await in_line(redis_real, 1)
        assert provider.frames.empty()
        await provider.answer(frame)
        await provider.answer(await provider.next())
        await asyncio.gather(*clients)


async def test_the_line_is_served_in_order_of_arrival_over_two_replicas(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m", slots=1) as provider:
        clients = []
        for number in range(8):
            clients.append(asked((one, two)[number % 2].chat("m", number=number)))
            if number:
                await in_line(redis_at, number)
            else:
                frame = await provider.next()
        order = []
        for _ in range(8):
            order.append(frame["request"]["number"])
            await provider.answer(frame)
            if len(order) < 8:
                frame = await provider.next()
        assert order == list(range(8))
        await asyncio.gather(*clients)


async def test_a_newcomer_does_not_overtake_the_line(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m", number=0))
        frame = await provider.next()
        waiting = asked(broker.chat("m", number=1))
        await in_line(redis_at, 1)
        newcomer, answered = asked(broker.chat("m", number=2)), asked(provider.answer(frame))
        order = []
        for _ in range(2):
            frame = await provider.next()
            order.append(frame["request"]["number"])
            await provider.answer(frame)
        assert order == [1, 2]
        await asyncio.gather(first, waiting, newcomer, answered)


async def test_an_error_frees_the_slot_like_an_answer(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        clients = [asked(broker.chat("m")) for _ in range(2)]
        await provider.fail(await provider.next(), "no")
        await provider.answer(await provider.next())
        assert sorted([status for status, *_ in await asyncio.gather(*clients)]) == [200, 502]


async def test_the_slots_of_one_llm_are_not_anothers(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "n", slots=1) as provider:
        clients = [asked(broker.chat("m")), asked(broker.chat("n"))]
        frames = [await provider.next(), await provider.next()]
        assert {frame["llmName"] for frame in frames} == {"m", "n"}
        for frame in frames:
            await provider.answer(frame)
        await asyncio.gather(*clients)


async def test_more_slots_at_a_new_registration_let_the_line_in(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        clients = [asked(broker.chat("m")) for _ in range(3)]
        frames = [await provider.next()]
        await in_line(redis_at, 2)
        await provider.register(providers=[{"name": "m", "type": "openai", "slots": 3}])
        frames += [await provider.next(), await provider.next()]
        for frame in frames:
            await provider.answer(frame)
        await asyncio.gather(*clients)


async def test_a_full_line_is_429_with_a_computed_retry_after(redis_at):
    async with replica(redis_at, queue_length=2) as broker, Provider(broker, "m", slots=1) as provider:
        clients = [asked(broker.chat("m")) for _ in range(3)]
        frame = await provider.next()
        await in_line(redis_at, 2)
        status, body, headers = await broker.chat("m")
        assert status == 429 and body["error"]["code"] == "queue_full" and body["error"]["type"] == "rate_limit_error"
        # Nothing is known of the pace yet, so 2 s each are assumed: three come before this one.
        assert headers["Retry-After"] == "6"
        for number in range(3):
            await provider.answer(frame)
            frame = await provider.next() if number < 2 else frame
        assert [status for status, *_ in await asyncio.gather(*clients)] == [200] * 3


@pytest.mark.parametrize(("pace_ms", "seconds"), [(1, "1"), (7000, "14"), (10_000_000, "120")])
async def test_retry_after_follows_the_pace_between_1_and_120_seconds(redis_at, pace_ms, seconds):
    async with replica(redis_at, queue_length=1) as broker, Provider(broker, "m", slots=1) as provider:
        redis = redis_at.redis()
        await redis.hset(f"rv:{{{redis_at.namespace}}}:load:m", "avgMs", pace_ms)
        await redis.aclose()
        clients = [asked(broker.chat("m")) for _ in range(2)]
        frame = await provider.next()
        await in_line(redis_at, 1)
        status, _, headers = await broker.chat("m")
        assert (status, headers["Retry-After"]) == (429, seconds)
        await provider.answer(frame)
        await provider.answer(await provider.next())
        await asyncio.gather(*clients)


async def test_the_line_is_bounded_by_bytes(redis_at):
    async with replica(redis_at, queue_bytes=5000) as broker, Provider(broker, "m", slots=1) as provider:
        clients = [asked(broker.chat("m"))]
        frame = await provider.next()
        clients.append(asked(broker.chat("m", padding="x" * 4000)))
        await in_line(redis_at, 1)
        assert (await broker.chat("m", padding="x" * 2000))[0] == 429
        clients.append(asked(broker.chat("m")))
        await in_line(redis_at, 2)
        for number in range(3):
            await provider.answer(frame)
            frame = await provider.next() if number < 2 else frame
        await asyncio.gather(*clients)
        assert b"waitingBytes" not in await redis_at.read("load:m")


async def test_a_large_request_counts_its_body_in_the_line(redis_real):
    async with replica(redis_real, queue_bytes=5000, inline_request_bytes=100) as broker:
        async with Provider(broker, "m", slots=1) as provider:
            clients = [asked(broker.chat("m"))]
            frame = await provider.next()
            clients.append(asked(broker.chat("m", padding="x" * 4000)))
            await in_line(redis_real, 1)
            assert (await broker.chat("m", padding="x" * 2000))[0] == 429
            await provider.answer(frame)
            await provider.answer(await provider.next())
            await asyncio.gather(*clients)


async def test_a_request_larger_than_the_lines_bytes_may_still_wait_alone(redis_real):
    async with replica(redis_real, queue_bytes=1000) as broker, Provider(broker, "m", slots=1) as provider:
        clients = [asked(broker.chat("m"))]
        frame = await provider.next()
        clients.append(asked(broker.chat("m", padding="x" * 4000)))
        await in_line(redis_real, 1)
        await provider.answer(frame)
        await provider.answer(await provider.next())
        assert [status for status, *_ in await asyncio.gather(*clients)] == [200, 200]


async def test_waiting_too_long_for_a_slot_is_503(redis_at):
    async with replica(redis_at, queue_wait_seconds=0.2) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m"))
        frame = await provider.next()
        status, body, headers = await broker.chat("m")
        assert status == 503 and body["error"]["code"] == "queue_timeout" and headers["Retry-After"]
        await in_line(redis_at, 0)
        await provider.answer(frame)
        assert (await first)[0] == 200
        assert provider.frames.empty()


async def test_once_it_has_its_slot_a_request_may_take_longer_than_the_line(redis_at):
    async with replica(redis_at, queue_wait_seconds=2) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m"))
        frame = await provider.next()
        second = asked(broker.chat("m"))
        await in_line(redis_at, 1)
        await provider.answer(frame)
        frame = await provider.next()
        done, _ = await asyncio.wait({second}, timeout=2.3)
        assert not done
        await provider.answer(frame)
        assert [(await each)[0] for each in (first, second)] == [200, 200]


async def test_a_deadline_ends_the_wait_in_line_with_504(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m"))
        frame = await provider.next()
        status, body, _ = await broker.chat("m", headers={"X-Deadline-Seconds": "0.1"})
        assert status == 504 and body["error"]["code"] == "deadline_exceeded"
        await in_line(redis_at, 0)
        await provider.answer(frame)
        await first
        assert provider.frames.empty()


async def test_a_hundred_clients_at_once_are_all_served(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", slots=4) as provider:
        clients = [asked(broker.chat("m", number=number)) for number in range(100)]
        for _ in range(100):
            frame = await provider.next()
            await provider.answer(frame, {"number": frame["request"]["number"]})
        answers = await asyncio.gather(*clients)
        assert [body["number"] for _, body, _ in answers] == list(range(100))


async def test_a_newcomer_never_overtakes_the_line_though_a_slot_is_free(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        clients = [asked(broker.chat("m"))]
        first = await provider.next()
        clients.append(asked(broker.chat("m", number=2)))

        async def waiting(count: int) -> None:
            async def so_many() -> bool:
                return len(await redis_at.read("waiting:m") or ()) == count

            await eventually(so_many)

        await waiting(1)
        # A free slot beside a line: what a lease that ran out leaves until the reaper comes by.
        redis = redis_at.redis()
        await redis.hset(f"rv:{{{redis_at.namespace}}}:llm:m", "slots", 2)
        await redis.aclose()
        clients.append(asked(broker.chat("m", number=3)))
        await waiting(2)
        await provider.answer(first)
        frames = [await provider.next(), await provider.next()]
        assert [frame["request"]["number"] for frame in frames] == [2, 3]
        for frame in frames:
            await provider.answer(frame)
        assert {status for status, *_ in await asyncio.gather(*clients)} == {200}
