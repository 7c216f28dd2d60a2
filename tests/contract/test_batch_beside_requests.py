"""Batch work beside other work: it leaves room for requests that come next, and no batch stands in another's way."""

from __future__ import annotations

import asyncio

from tests.support.batches import answering, create, ended, line, upload
from tests.support.brokers import replica
from tests.support.jobs import SOON, submit, until
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.waiting import eventually


async def begun(provider: Provider, count: int) -> list[dict]:
    return [await provider.next() for _ in range(count)]


async def set_fields(place, key: str, **fields) -> None:
    redis = place.redis()
    await redis.hset(f"rv:{{{place.namespace}}}:{key}", mapping=fields)
    await redis.aclose()


async def test_a_request_finds_a_free_slot_though_batch_work_could_use_them_all(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", slots=8) as provider:
        chats = [asked(broker.chat("m", number=number)) for number in (1, 2)]
        frames = await begun(provider, 2)
        jobs = [await submit(broker, request={"number": 10}, priority="batch") for _ in range(12)]
        frames += await begun(provider, 5)
        # Two slots of the two that were used, and one more: five are left for the batch.
        chats.append(asked(broker.chat("m", number=3)))
        frames += await begun(provider, 1)
        assert [frame["request"]["number"] for frame in frames] == [1, 2, 10, 10, 10, 10, 10, 3]

        async def three_seen() -> bool:
            return (await redis_at.read("load:m")).get(b"most") == b"3"

        # Room is kept for as many as there were lately, also when they have gone.
        await eventually(three_seen)
        for frame in frames:
            await provider.answer(frame)
        for status, *_ in await asyncio.gather(*chats):
            assert status == 200
        frames = await begun(provider, 4)
        assert len(await redis_at.read("leases:m")) == 4 and provider.frames.empty()

        # When nobody has come for a while, all slots are the batch's.
        await set_fields(redis_at, "load:m", mostSince=0)
        frames += await begun(provider, 3)
        for frame in frames:
            await provider.answer(frame)
        for made in jobs:
            await until(broker, made["id"], "done")


async def test_batch_work_always_has_a_quarter_of_the_slots(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", slots=4) as provider:
        chats = [asked(broker.chat("m", number=number)) for number in range(4)]
        frames = await begun(provider, 4)
        jobs = [await submit(broker, request={"number": 10}, priority="batch") for _ in range(2)]

        async def in_line() -> bool:
            return len(await redis_at.read("waiting:m") or ()) == 1

        await eventually(in_line)
        await provider.answer(frames.pop())
        first = (await begun(provider, 1))[0]
        assert first["request"]["number"] == 10
        await provider.answer(frames.pop())
        await provider.answer(first)
        second = (await begun(provider, 1))[0]
        for frame in (*frames, second):
            await provider.answer(frame)
        await asyncio.gather(*chats)
        for made in jobs:
            await until(broker, made["id"], "done")


async def test_other_tasks_leave_no_slot_empty(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", slots=4) as provider:
        chat = asked(broker.chat("m", number=1))
        frames = await begun(provider, 1)
        jobs = [await submit(broker, request={"number": 10}) for _ in range(3)]
        frames += await begun(provider, 3)
        for frame in frames:
            await provider.answer(frame)
        await chat
        for made in jobs:
            await until(broker, made["id"], "done")


async def test_batches_of_which_nothing_comes_give_their_place_to_others(redis_real, tmp_path):
    async with replica(redis_real, files_dir=str(tmp_path), **SOON) as broker, Provider(broker, "m") as provider:
        broker.broker.batches._patience_s = 0.2
        file = await upload(broker, line("a"))
        waiting = [await create(broker, file=file) for _ in range(8)]
        assert (await ended(broker, await create(broker, line("a", model="nobody"))))["request_counts"]["failed"] == 1
        async with answering(provider) as seen:
            for batch in waiting:
                assert (await ended(broker, batch))["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
        assert len(seen) == 8
