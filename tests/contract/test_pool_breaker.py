"""A member that keeps failing is left out for a while, probed by one request, and taken back when that went well."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.support.brokers import replica
from tests.support.pools import Asker
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.waiting import eventually


async def health(place, llm: str) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in (await place.read(f"health:{llm}") or {}).items()}


async def fail(broker, llm: str, times: int = 1) -> None:
    for _ in range(times):
        await broker.broker.store.pools.report(llm, "failed", "r", "t", why="test")


async def let_cool(place, llm: str) -> None:
    """As if its time to cool down had passed."""
    redis = place.redis()
    prefix = f"rv:{{{place.namespace}}}:"
    await redis.hset(prefix + f"health:{llm}", "openUntil", 1)
    await redis.zadd(prefix + "broken:m:q", {llm: 1})
    await redis.aclose()


async def test_three_failures_take_a_member_out(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=9) as provider:
        asker = Asker(broker)
        await fail(broker, "a", 2)
        assert (await asker.ask("q")).llm == "a"
        await fail(broker, "a")
        assert [(await asker.ask("q")).llm for _ in range(5)] == ["b"] * 5
        await asker.finish_all(provider.session)


async def test_failures_that_are_far_apart_do_not(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q"):
        await fail(broker, "a", 2)
        redis = redis_at.redis()
        await redis.hset(f"rv:{{{redis_at.namespace}}}:health:a", "since", 1)
        await redis.aclose()
        await fail(broker, "a")
        assert "openUntil" not in await health(redis_at, "a") and (await health(redis_at, "a"))["fails"] == "1"


async def test_one_request_probes_and_its_success_brings_the_member_back(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=9) as provider:
        asker = Asker(broker)
        await asker.ask("q")
        await fail(broker, "a", 3)
        await let_cool(redis_at, "a")
        chosen = [await asker.ask("q") for _ in range(4)]
        assert [(one.llm, one.why) for one in chosen] == [("a", "probe")] + [("b", "least loaded")] * 3
        await broker.broker.store.pools.report("a", "ok", "r", "t")
        assert (await asker.ask("q")).llm == "a" and not await health(redis_at, "a")
        await asker.finish_all(provider.session)


async def test_a_probe_that_fails_doubles_the_time_up_to_a_minute(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=99) as provider:
        asker = Asker(broker)
        await asker.ask("q")
        await fail(broker, "a", 3)
        times = [int((await health(redis_at, "a"))["coolMs"])]
        for _ in range(7):
            await let_cool(redis_at, "a")
            assert (await asker.ask("q")).why == "probe"
            await fail(broker, "a")
            # Others that were sent before say nothing new.
            await fail(broker, "a", 5)
            times.append(int((await health(redis_at, "a"))["coolMs"]))
        assert times == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
        await asker.finish_all(provider.session)


async def test_a_member_is_probed_also_while_others_are_full(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=1) as provider:
        asker = Asker(broker)
        assert (await asker.ask("q", left_out=("a",))).llm == "b"
        await fail(broker, "a", 3)
        assert (await asker.ask("q", task="waits")).state == "waiting"
        assert not await redis_at.read("leases:a")
        await let_cool(redis_at, "a")
        assert (await asker.ask("q", task="probe")).why == "probe"
        await asker.end("probe", provider.session)
        assert await redis_at.read("waiting:\1m:q")
        await broker.broker.store.pools.report("a", "ok", "r", "probe")
        assert not await redis_at.read("waiting:\1m:q") and await redis_at.read("leases:a")
        await asker.end("waits", provider.session)
        await asker.finish_all(provider.session)


async def test_when_all_are_broken_one_is_asked_all_the_same(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        await fail(broker, "a", 3)
        await fail(broker, "b", 3)
        task = asked(broker.chat("q"))
        await provider.answer(await provider.next())
        status, _, headers = await task
        assert status == 200
        await eventually(lambda: is_back(redis_at, headers["X-Served-By"]))


async def is_back(place, llm: str) -> bool:
    return not await health(place, llm)


async def use(broker, provider: Provider) -> None:
    """Lets the pool be in use."""
    task = asked(broker.chat("q"))
    await provider.answer(await provider.next())
    assert (await task)[0] == 200


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
