"""A member that was left out is probed by one request at a time, and is back when that went well."""

from __future__ import annotations

from tests.support.brokers import replica
from tests.support.pools import Asker, fail, health, is_back, let_cool, make_pool, use
from tests.support.provider import Provider
from tests.support.streams import asked


async def test_one_request_probes_and_its_success_brings_the_member_back(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=9) as provider:
        asker = Asker(broker)
        await asker.ask("q")
        await fail(broker, "a", 3)
        await let_cool(redis_at, "a")
        chosen = [await asker.ask("q") for _ in range(4)]
        assert [(one.llm, one.why) for one in chosen] == [("a", "probe")] + [("b", "least loaded")] * 3
        await broker.broker.store.pools.report("a", "ok", "r", "t")
        assert (await asker.ask("q")).llm == "a" and await is_back(redis_at, "a")
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


async def test_there_is_one_probe_for_as_long_as_that_takes_and_another_when_its_client_left(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=9) as provider:
        asker = Asker(broker)
        await asker.ask("q")
        await fail(broker, "a", 3)
        await let_cool(redis_at, "a")
        assert (await asker.ask("q", task="slow")).why == "probe"
        await let_cool(redis_at, "a")
        assert (await asker.ask("q")).llm == "b"
        await asker.end("slow", provider.session)
        await let_cool(redis_at, "a")
        assert (await asker.ask("q")).why == "probe"
        asker.held = [one for one in asker.held if one[0] != "slow"]
        await asker.finish_all(provider.session)


async def test_who_waits_probes_a_member_when_nobody_else_comes(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=1) as provider:
        await use(broker, provider)
        clients = [asked(broker.chat("q"))]
        first = await provider.next()
        await fail(broker, "b" if first["llmName"] == "a" else "a", 3)
        clients += [asked(broker.chat("q")), asked(broker.chat("q"))]
        probe = await provider.next()
        assert probe["llmName"] != first["llmName"]
        await provider.answer(probe)
        # That went well, so it serves on.
        last = await provider.next()
        assert last["llmName"] == probe["llmName"]
        for frame in (first, last):
            await provider.answer(frame)
        answers = [await client for client in clients]
        assert [status for status, *_ in answers] == [200] * 3
        assert await is_back(redis_at, probe["llmName"])


async def test_when_only_a_member_that_was_left_out_stays_it_serves_who_waits(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0.1) as broker, Provider(broker, "a", model="q") as stays:
        asker = Asker(broker)
        async with Provider(broker, "b", model="q", slots=1):
            assert (await asker.ask("q", left_out=("a",))).llm == "b"
            await fail(broker, "a", 3)
            await let_cool(redis_at, "a", 10**15)
            assert (await asker.ask("q", task="waits")).state == "waiting"
        frame = await stays.next()
        assert frame["taskId"] == "waits"
        await stays.answer(frame)


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


async def test_one_that_is_to_overflow_is_not_probed_while_others_are_free(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "local", "over", slots=1) as provider:
        await make_pool(broker, "q", "local", {"llm": "over", "tier": 1})
        asker = Asker(broker)
        await asker.ask("q")
        await asker.finish_all(provider.session)
        await fail(broker, "over", 3)
        await let_cool(redis_at, "over", key="p:q")
        assert (await asker.ask("q")).llm == "local"
        given = await asker.ask("q")
        assert (given.llm, given.why) == ("over", "probe")
        await asker.finish_all(provider.session)
