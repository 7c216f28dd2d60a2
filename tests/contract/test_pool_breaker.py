"""A member that keeps failing is left out for a while, and loses requests before that. How it comes back: test_pool_probes.py."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.support.brokers import replica
from tests.support.pools import Asker, fail, health, is_back, let_cool, use
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.waiting import eventually


async def test_three_failures_take_a_member_out(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=9) as provider:
        asker = Asker(broker)
        await fail(broker, "a", 2)
        assert [(await asker.ask("q", left_out=("b",))).llm for _ in range(3)] == ["a"] * 3
        await fail(broker, "a")
        assert [(await asker.ask("q")).llm for _ in range(5)] == ["b"] * 5
        await asker.finish_all(provider.session)


async def test_failures_that_are_far_apart_do_not(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q"):
        await fail(broker, "a", 2)
        redis = redis_at.redis()
        await redis.hset(f"rv:{{{redis_at.namespace}}}:health:a", "earlier", 1)
        await redis.aclose()
        await fail(broker, "a")
        assert "openUntil" not in await health(redis_at, "a")
        # Any ten seconds count: the second and the third were just now.
        await fail(broker, "a")
        assert "openUntil" in await health(redis_at, "a")


async def test_a_member_that_fails_again_soon_after_it_came_back_is_out_for_longer(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q", slots=9) as provider:
        asker = Asker(broker)
        times = []
        for long_after in (False, False, True):
            if long_after:
                redis = redis_at.redis()
                await redis.hset(f"rv:{{{redis_at.namespace}}}:health:a", "backAt", 1)
                await redis.aclose()
            await fail(broker, "a", 3)
            times.append(int((await health(redis_at, "a"))["coolMs"]))
            await let_cool(redis_at, "a")
            assert (await asker.ask("q")).why == "probe"
            await broker.broker.store.pools.report("a", "ok", "r", "t")
        assert times == [1000, 2000, 1000]
        await asker.finish_all(provider.session)


async def test_a_member_that_failed_lately_is_asked_less(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=9) as provider:
        asker = Asker(broker)
        await asker.ask("q")
        await fail(broker, "a", 2)
        chosen = [(await asker.ask("q")).llm for _ in range(7)]
        assert chosen.count("a") == 1
        await asker.finish_all(provider.session)


async def test_failing_fast_does_not_count_as_answering_fast(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q") as provider:
        await use(broker, provider)
        redis = redis_at.redis()
        await redis.hset(f"rv:{{{redis_at.namespace}}}:load:a", "avgMs", 4000)
        await redis.aclose()
        for status in (400, 500):
            task = asked(broker.chat("q"))
            await provider.answer(await provider.next(), status=status)
            assert (await task)[0] == status
        assert (await redis_at.read("load:a"))[b"avgMs"] == b"4000"
        await use(broker, provider)
        assert (await redis_at.read("load:a"))[b"avgMs"] != b"4000"


async def test_when_all_are_broken_one_is_asked_all_the_same(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        await fail(broker, "a", 3)
        await fail(broker, "b", 3)
        task = asked(broker.chat("q"))
        await provider.answer(await provider.next())
        status, _, headers = await task
        assert status == 200
        await eventually(lambda: is_back(redis_at, headers["X-Served-By"]))


async def test_a_request_by_name_is_asked_of_a_broken_one_too(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        await use(broker, provider)
        await fail(broker, "a", 3)
        task = asked(broker.chat("a"))
        await provider.answer(await provider.next())
        assert (await task)[0] == 200 and await health(redis_at, "a")


async def test_an_llm_that_was_woken_starts_anew(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q") as provider:
        await use(broker, provider)
        await fail(broker, "a", 3)
        await provider.post("/_provider-status", {"providerSessionId": provider.session, "llmName": "a", "status": "hibernating"})
        task = asked(broker.chat("q"))
        await provider.answer(await provider.next("wake"))
        await provider.answer(await provider.next())
        assert (await task)[0] == 200 and not await health(redis_at, "a")


async def test_a_member_that_fails_fast_gets_few_requests_and_no_client_notices(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "bad", "good", model="q", slots=8) as provider:
        loop = asyncio.get_running_loop()
        started, sent = loop.time(), Counter()

        async def publish() -> None:
            while True:
                frame = await provider.next(limit_s=20)
                sent[frame["llmName"], loop.time() - started > 3] += 1
                if frame["llmName"] == "bad":
                    await provider.fail(frame, "broken")
                else:
                    await provider.answer(frame)

        publisher = asked(publish())
        statuses: Counter = Counter()

        async def ask() -> None:
            while loop.time() - started < 7:
                statuses[(await broker.chat("q"))[0]] += 1

        await asyncio.gather(*(ask() for _ in range(4)))
        publisher.cancel()
        share = sent["bad", True] / (sent["bad", True] + sent["good", True])
        assert statuses.keys() == {200} and share < 0.05, (share, sent)
