"""Sleeping members of a pool: who is woken, when, and what becomes of those who wait when that fails."""

from __future__ import annotations

import pytest

from broker.errors import WakeForbidden
from tests.support.brokers import replica
from tests.support.pools import Asker, make_pool
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.waiting import eventually

LINE = "waiting:\1m:q"


async def waiting(place, count: int) -> bool:
    return len(await place.read(LINE) or ()) == count


async def test_a_sleeper_is_woken_only_when_those_awake_are_full_and_one_at_a_time(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "warm", model="q", slots=1) as warm:
        async with Provider(broker, "s1", "s2", model="q", slots=2, initialStatus="hibernating") as asleep:
            clients = [asked(broker.chat("q", number=0))]
            frame = await warm.next()
            assert asleep.frames.empty()
            for number in (1, 2):
                clients.append(asked(broker.chat("q", number=number)))
            await eventually(lambda: waiting(redis_at, 2))
            wake = await asleep.next("wake")
            assert wake["llmName"] == "s1" and asleep.frames.empty()
            clients.append(asked(broker.chat("q", number=3)))
            second = await asleep.next("wake")
            assert second["llmName"] == "s2"
            await asleep.answer(wake)
            frames = [await asleep.next() for _ in range(2)]
            assert [one["request"]["number"] for one in frames] == [1, 2] and {one["llmName"] for one in frames} == {"s1"}
            await warm.answer(frame)
            last = await warm.next()
            assert last["request"]["number"] == 3
            for provider, one in ((asleep, frames[0]), (asleep, frames[1]), (warm, last), (asleep, second)):
                await provider.answer(one)
            assert [(await client)[0] for client in clients] == [200] * 4


async def test_when_a_wake_fails_the_next_is_woken_and_with_none_left_the_reason_is_said(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "s1", "s2", model="q", initialStatus="hibernating") as asleep:
        client = asked(broker.chat("q"))
        first = await asleep.next("wake")
        await asleep.fail(first, "no power")
        second = await asleep.next("wake")
        assert (first["llmName"], second["llmName"]) == ("s1", "s2")
        await asleep.answer(second)
        await asleep.answer(await asleep.next())
        status, _, headers = await client
        assert (status, headers["X-Served-By"]) == (200, "s2")
        for name in ("s1", "s2"):
            await asleep.post("/_provider-status", {"providerSessionId": asleep.session, "llmName": name, "status": "hibernating"})
        client = asked(broker.chat("q"))
        for _ in range(2):
            await asleep.fail(await asleep.next("wake"), "no power")
        status, body, headers = await client
        assert status == 503 and body["error"]["code"] == "wake_failed" and "no power" in body["error"]["message"]
        assert headers["x-should-retry"] == "false" and asleep.frames.empty()


async def test_one_whose_wake_failed_is_woken_after_others(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "s1", "s2", model="q", initialStatus="hibernating") as asleep:
        for number, woken in enumerate([["s1", "s2"], ["s2"]]):
            client = asked(broker.chat("q"))
            for name in woken:
                wake = await asleep.next("wake")
                assert wake["llmName"] == name
                await (asleep.answer(wake) if name == "s2" else asleep.fail(wake, "no power"))
            await asleep.answer(await asleep.next())
            assert (await client)[0] == 200
            if number == 0:
                await asleep.post("/_provider-status", {"providerSessionId": asleep.session, "llmName": "s2", "status": "hibernating"})


async def test_when_a_wake_fails_who_is_awake_serves_within_the_wait_for_a_slot(redis_at):
    async with replica(redis_at, queue_wait_seconds=0.4) as broker, Provider(broker, "warm", model="q", slots=1) as warm:
        async with Provider(broker, "s", model="q", initialStatus="hibernating") as asleep:
            clients = [asked(broker.chat("q")), asked(broker.chat("q"))]
            frame = await warm.next()
            await asleep.fail(await asleep.next("wake"), "no power")
            status, body, _ = await clients[1]
            assert (status, body["error"]["code"]) == (503, "queue_timeout")
            await warm.answer(frame)
            assert (await clients[0])[0] == 200


async def test_a_token_that_may_not_wake_waits_for_those_awake_or_is_told(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "s", model="q", initialStatus="hibernating") as asleep:
        asker = Asker(broker)
        with pytest.raises(WakeForbidden):
            await asker.ask("q", may_wake=False)
        async with Provider(broker, "warm", model="q", slots=1) as warm:
            await asker.ask("q", may_wake=False)
            assert (await asker.ask("q", may_wake=False, task="waits")).state == "waiting"
            assert asleep.frames.empty()
            await asker.finish(warm.session)
            await asker.end("waits", warm.session)


async def test_a_token_that_may_not_wake_is_served_by_a_higher_tier_that_is_awake(redis_at):
    async with replica(redis_at) as broker:
        names = [f"s{number}" for number in range(12)]
        async with Provider(broker, *names, initialStatus="hibernating") as asleep, Provider(broker, "over", slots=1) as awake:
            await make_pool(broker, "q", *names, {"llm": "over", "tier": 1})
            asker = Asker(broker)
            assert (await asker.ask("q", may_wake=False)).llm == "over"
            # When that is full it waits for it.
            assert (await asker.ask("q", may_wake=False, task="waits")).state == "waiting"
            assert asleep.frames.empty()
            await asker.finish(awake.session)
            await asker.end("waits", awake.session)
