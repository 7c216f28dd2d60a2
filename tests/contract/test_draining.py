"""A row that gives out no more work, so that another model of its group has its turn: who waits for it is never refused."""

from __future__ import annotations

import asyncio

from tests.contract.test_may_wake import quiet_token
from tests.contract.test_wake import WOKEN, in_line
from tests.support.brokers import replica
from tests.support.jobs import SOON, submit, task
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually


async def says(provider: Provider, status: str, name: str = "m") -> int:
    body = {"providerSessionId": provider.session, "llmName": name, "status": status}
    return (await provider.post("/_provider-status", body))[0]


async def test_a_row_that_is_held_keeps_its_running_work_and_lets_new_requests_wait(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m", slots=2) as provider:
        running = asked(one.chat("m", number=0))
        frame = await provider.next()
        assert await says(provider, "draining") == 200
        waiting = [asked(each.chat("m", number=number)) for number, each in enumerate((one, two), 1)]
        await in_line(redis_at, 2)
        assert provider.frames.empty() and (await one.llm("m"))["status"] == "active"
        await provider.answer(frame)
        assert (await running)[0] == 200
        assert len(await redis_at.read("waiting:m")) == 2 and provider.frames.empty(), "a slot that became free stays so"
        assert await says(provider, "active") == 200
        for _ in waiting:
            await provider.answer(await provider.next())
        assert {status for status, *_ in await asyncio.gather(*waiting)} == {200}


async def test_a_held_row_sleeps_with_people_in_its_line_and_is_woken_for_them_at_once(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        first = asked(broker.chat("m", number=0))
        frame = await provider.next()
        assert await says(provider, "draining") == 200
        waiting = []
        for number in (1, 2):
            waiting.append(asked(broker.chat("m", number=number)))
            await in_line(redis_at, number)
        assert await says(provider, "hibernating") == 409, "what runs is not put to sleep"
        await provider.answer(frame)
        assert (await first)[0] == 200
        assert await says(provider, "hibernating") == 200
        wake = await provider.next("wake")
        assert (await broker.llm("m"))["status"] == "hibernating" and await redis_at.read("wake:m")
        await provider.result(wake, WOKEN)
        for number in (1, 2):
            frame = await provider.next()
            assert frame["request"]["number"] == number
            await provider.answer(frame)
        assert {status for status, *_ in await asyncio.gather(*waiting)} == {200}
        assert "hold" not in await redis_at.read("llm:m")


async def test_a_held_row_that_nobody_waits_for_sleeps_on(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        assert await says(provider, "draining") == 200
        assert await says(provider, "hibernating") == 200
        assert provider.frames.empty() and await redis_at.read("wake:m") is None
        client = asked(broker.chat("m"))
        await provider.result(await provider.next("wake"), WOKEN)
        await provider.answer(await provider.next())
        assert (await client)[0] == 200


async def test_a_row_that_is_not_held_still_refuses_to_sleep_with_people_in_its_line(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        clients = [asked(broker.chat("m")) for _ in range(2)]
        frame = await provider.next()
        await in_line(redis_at, 1)
        assert await says(provider, "hibernating") == 409
        await provider.answer(frame)
        await provider.answer(await provider.next())
        await asyncio.gather(*clients)


async def test_who_waits_for_a_held_row_waits_as_for_a_wake(redis_real):
    async with replica(redis_real, queue_wait_seconds=2) as broker, Provider(broker, "m") as provider:
        running = asked(broker.chat("m"))
        frame = await provider.next()
        before = asked(broker.chat("m"))
        await in_line(redis_real, 1)
        assert await says(provider, "draining") == 200
        after = asked(broker.chat("m"))
        await in_line(redis_real, 2)
        async with Provider(broker, "other") as other:
            served = asked(broker.chat("other"))
            frame_of_other = await other.next()
            late = await broker.chat("other")
            assert late[1]["error"]["code"] == "queue_timeout", "and those who came earlier still wait"
            assert not before.done() and not after.done()
            await other.answer(frame_of_other)
            assert (await served)[0] == 200
        assert await says(provider, "active") == 200
        await provider.answer(frame)
        for _ in range(2):
            await provider.answer(await provider.next())
        assert {status for status, *_ in await asyncio.gather(running, before, after)} == {200}


async def test_one_that_has_just_woken_gets_work_for_its_slots_before_it_is_held(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", initialStatus="hibernating") as provider:
        clients = [asked(broker.chat("m")) for _ in range(2)]
        wake = await provider.next("wake")
        await in_line(redis_at, 2)
        assert await says(provider, "draining") == 200
        assert (await broker.llm("m"))["status"] == "active" and await redis_at.read("wake:m") is None
        assert (await provider.result(wake, WOKEN))[0] == 404, "that wake has ended"
        await provider.answer(await provider.next())
        await in_line(redis_at, 1)
        assert provider.frames.empty()
        assert await says(provider, "hibernating") == 200
        await provider.result(await provider.next("wake"), WOKEN)
        await provider.answer(await provider.next())
        assert {status for status, *_ in await asyncio.gather(*clients)} == {200}


async def test_a_registration_ends_the_hold_unless_it_says_otherwise(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        assert await says(provider, "draining") == 200
        client = asked(broker.chat("m"))
        await in_line(redis_at, 1)
        await provider.register(providers=[{"name": "m", "initialStatus": "draining"}])
        assert provider.frames.empty() and (await broker.llm("m"))["status"] == "active"
        await provider.register()
        await provider.answer(await provider.next())
        assert (await client)[0] == 200


async def test_a_publisher_that_is_back_with_a_held_row_still_gives_it_no_work(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", instance="a") as provider:
        assert await says(provider, "draining") == 200
        client = asked(broker.chat("m"))
        await in_line(redis_at, 1)
        await provider.open()
        await provider.next("superseded")
        assert provider.frames.empty() and len(await redis_at.read("waiting:m")) == 1
        assert await says(provider, "active") == 200
        await provider.answer(await provider.next())
        assert (await client)[0] == 200


async def test_another_word_for_a_status_is_refused(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        assert await says(provider, "dozing") == 422


async def test_in_a_pool_a_held_member_counts_as_full(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="shared", slots=9) as provider:
        assert await says(provider, "draining", "a") == 200
        clients = [asked(broker.chat("shared")) for _ in range(3)]
        frames = [await provider.next() for _ in clients]
        assert {frame["llmName"] for frame in frames} == {"b"}
        for frame in frames:
            await provider.answer(frame)
        assert {status for status, *_ in await asyncio.gather(*clients)} == {200}


async def test_the_line_of_a_pool_wakes_its_only_member_when_that_was_held_and_sleeps(redis_real):
    async with replica(redis_real, queue_wait_seconds=0.1) as broker, Provider(broker, "a", model="shared") as provider:
        assert await says(provider, "draining", "a") == 200
        client = asked(broker.chat("shared"))
        await eventually(lambda: redis_real.read("waiting:\1m:shared"))
        assert provider.frames.empty()
        assert await says(provider, "hibernating", "a") == 200
        await provider.result(await provider.next("wake"), WOKEN)
        frame = await provider.next()
        assert frame["llmName"] == "a"
        await provider.answer(frame)
        assert (await client)[0] == 200


async def test_who_may_not_wake_wakes_no_row_that_slept_while_they_waited_and_is_told_so(redis_at):
    async with tokens(redis_at, pub="publisher", ann="client") as given, quiet_token(redis_at) as quiet, replica(redis_at) as broker:
        async with Provider(broker, "m", token=given.pub) as provider:
            assert await says(provider, "draining") == 200
            client = asked(broker.chat("m", headers=bearer(quiet)))
            await in_line(redis_at, 1)
            assert await says(provider, "hibernating") == 200
            status, body, headers = await client
            assert (status, body["error"]["code"], headers["x-should-retry"]) == (403, "wake_forbidden", "false")
            assert provider.frames.empty() and not await redis_at.read("wake:m")


async def test_who_may_not_wake_is_served_when_somebody_else_in_the_line_may(redis_at):
    async with tokens(redis_at, pub="publisher", ann="client") as given, quiet_token(redis_at) as quiet, replica(redis_at) as broker:
        async with Provider(broker, "m", token=given.pub) as provider:
            assert await says(provider, "draining") == 200
            clients = []
            for number, token in enumerate((quiet, given.ann), 1):
                clients.append(asked(broker.chat("m", headers=bearer(token))))
                await in_line(redis_at, number)
            assert await says(provider, "hibernating") == 200
            await provider.result(await provider.next("wake"), WOKEN)
            for _ in clients:
                await provider.answer(await provider.next())
            assert {(await client)[0] for client in clients} == {200}


async def test_a_task_that_may_not_wake_waits_on_when_the_held_row_sleeps(redis_at):
    async with (
        tokens(redis_at, pub="publisher") as given, quiet_token(redis_at) as quiet, replica(redis_at, **SOON) as broker,
    ):
        async with Provider(broker, "m", token=given.pub) as provider:
            assert await says(provider, "draining") == 200
            made = await submit(broker, "m", headers=bearer(quiet))
            await in_line(redis_at, 1)
            assert await says(provider, "hibernating") == 200
            assert not await redis_at.read("waiting:m") and not await redis_at.read("wake:m")
            found = await task(broker, made["id"], bearer(quiet))
            assert (found["state"], found["attempts"]) == ("queued", [])
            assert await says(provider, "active") == 200
            await provider.answer(await provider.next())

            async def done() -> bool:
                return (await task(broker, made["id"], bearer(quiet)))["state"] == "done"

            await eventually(done)


async def test_in_a_pool_too_who_may_not_wake_is_told_so_when_the_last_member_sleeps(redis_at):
    async with tokens(redis_at, pub="publisher", ann="client") as given, quiet_token(redis_at) as quiet, replica(redis_at) as broker:
        async with Provider(broker, "a", model="shared", token=given.pub) as provider:
            assert await says(provider, "draining", "a") == 200
            client = asked(broker.chat("shared", headers=bearer(quiet)))
            await eventually(lambda: redis_at.read("waiting:\1m:shared"))
            assert await says(provider, "hibernating", "a") == 200
            status, body, _ = await client
            assert (status, body["error"]["code"]) == (403, "wake_forbidden") and provider.frames.empty()


async def test_who_waits_in_a_pools_line_for_a_row_that_is_held_waits_as_for_a_wake(redis_real):
    async with replica(redis_real, queue_wait_seconds=2) as broker, Provider(broker, "a", model="shared") as provider:
        running = asked(broker.chat("shared"))
        frame = await provider.next()
        waiting = asked(broker.chat("shared"))
        await eventually(lambda: redis_real.read("waiting:\1m:shared"))
        assert await says(provider, "draining", "a") == 200
        async with Provider(broker, "other") as other:
            served = asked(broker.chat("other"))
            frame_of_other = await other.next()
            assert (await broker.chat("other"))[1]["error"]["code"] == "queue_timeout"
            assert not waiting.done(), "and who came earlier still waits"
            await other.answer(frame_of_other)
            assert (await served)[0] == 200
        await provider.answer(frame)
        assert await says(provider, "active", "a") == 200
        await provider.answer(await provider.next())
        assert {status for status, *_ in await asyncio.gather(running, waiting)} == {200}
