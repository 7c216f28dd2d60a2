"""The line of a pool: any member that frees a slot serves it, fairly with its own, and nobody waits for another model."""

from __future__ import annotations

import pytest

from broker.errors import PublisherOffline
from broker.unknown import UnknownLLM
from tests.support.brokers import replica
from tests.support.pools import Asker, make_pool
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.waiting import eventually

LINE = "waiting:\1m:q"


async def in_line(place, line: str = LINE) -> int:
    return len(await place.read(line) or ())


async def fill(broker, place, provider: Provider, slots: int, waiting: int, model: str = "q"):
    """So many chats that run and wait: their frames, and all the clients."""
    clients = [asked(broker.chat(model, number=number)) for number in range(slots)]
    frames = [await provider.next() for _ in range(slots)]
    for number in range(waiting):
        clients.append(asked(broker.chat(model, number=slots + number)))
        await eventually(lambda expected=number + 1: has(place, f"waiting:\1m:{model}", expected))
    return frames, clients


async def has(place, line: str, count: int) -> bool:
    return await in_line(place, line) == count


async def serve(provider: Provider, clients: list) -> list[int]:
    """Answers till all have heard; which numbers came, in order."""
    numbers = []
    for _ in clients:
        frame = await provider.next()
        numbers.append(frame["request"].get("number"))
        await provider.answer(frame)
    return numbers


async def test_the_line_is_served_in_order_by_whoever_is_free(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=1) as provider:
        frames, clients = await fill(broker, redis_at, provider, 2, 3)
        await provider.answer(frames[1])
        third = await provider.next()
        assert (third["llmName"], third["request"]["number"]) == (frames[1]["llmName"], 2)
        await provider.answer(frames[0])
        fourth = await provider.next()
        assert (fourth["llmName"], fourth["request"]["number"]) == (frames[0]["llmName"], 3)
        for frame in (third, fourth):
            await provider.answer(frame)
        await provider.answer(await provider.next())
        answers = [await client for client in clients]
        assert [status for status, *_ in answers] == [200] * 5
        assert {headers["X-Served-By"] for _, _, headers in answers} == {"a", "b"}
        assert [headers.get("X-Queue-Position") for _, _, headers in answers] == [None, None, "1", "2", "3"]


async def test_where_a_request_is_in_a_pools_line_can_be_asked(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q", slots=1) as provider:
        frames, clients = await fill(broker, redis_at, provider, 1, 2)
        second = (await redis_at.read(LINE))[1][0].decode()
        _, found, _ = await broker.call("GET", f"/api/v1/requests/{second}")
        assert found == {
            "id": second, "state": "waiting", "llm": "q", "priority": "interactive", "position": 2, "estimatedSeconds": found["estimatedSeconds"],
        } and found["estimatedSeconds"] >= 1
        assert (await broker.call("DELETE", f"/api/v1/requests/{second}"))[0] == 200
        assert (await clients.pop())[0] == 499 and await in_line(redis_at) == 1
        await provider.answer(frames[0])
        await serve(provider, clients[1:])
        assert [(await client)[0] for client in clients] == [200, 200]


async def test_a_line_of_one_model_holds_up_no_other(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q", slots=1) as busy, Provider(broker, "b", model="r") as idle:
        await make_pool(broker, "pool", "a", "b")
        frames, clients = await fill(broker, redis_at, busy, 1, 5)
        for name in ("r", "b", "pool"):
            other = asked(broker.chat(name))
            await idle.answer(await idle.next())
            assert (await other)[0] == 200
        await busy.answer(frames[0])
        await serve(busy, clients[1:])
        assert [(await client)[0] for client in clients] == [200] * 6


async def test_a_members_own_line_and_its_pools_take_turns(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q", slots=1) as provider:
        frames, clients = await fill(broker, redis_at, provider, 1, 4)
        for number in range(4):
            clients.append(asked(broker.chat("a", number=10 + number)))
            await eventually(lambda expected=number + 1: has(redis_at, "waiting:a", expected))
        await provider.answer(frames[0])
        numbers = await serve(provider, clients[1:])
        assert [number for number in numbers if number < 10] == [1, 2, 3, 4] and [n for n in numbers if n >= 10] == [10, 11, 12, 13]
        assert {number < 10 for number in numbers[:2]} == {True, False} and {number < 10 for number in numbers[4:6]} == {True, False}
        assert [(await client)[0] for client in clients] == [200] * 9


async def test_a_new_line_does_not_starve_one_that_was_busy_for_long(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q", slots=1) as provider:
        store = broker.broker.store
        asker = Asker(broker)
        own = []

        async def ask_own() -> None:
            task = f"own{len(own)}"
            own.append(task)
            frame = b'{"kind":"infer","taskId":"%s","llmName":"a","request":{"by":"own"},"deadlineMs":' % task.encode()
            await store.tasks.dispatch("a", task, owner="o", frame=frame, body=b"", deadline_ms=60_000)

        for _ in range(3):
            await ask_own()
        order = []
        for turn in range(40):
            if turn == 20:
                for number in range(10):
                    await asker.ask("q", task=f"pool{number}")
            running = (await redis_at.read("leases:a"))[0][0].decode()
            order.append(running[:3])
            await ask_own()
            await asker.end(running, provider.session)
        assert order[21:37].count("own") >= 7 and order[21:37].count("poo") >= 7, order
        while left := await redis_at.read("leases:a"):
            await asker.end(left[0][0].decode(), provider.session)


async def test_owners_take_turns_in_a_pools_line_and_classes_come_in_order(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q", slots=1) as provider:
        asker = Asker(broker)
        await asker.ask("q", task="t")
        for owner, priority in (("x", "batch"), ("x", "interactive"), ("x", "interactive"), ("y", "interactive"), ("z", "normal")):
            await asker.ask("q", owner=owner, priority=priority, task=f"{owner}-{priority}-{len(await redis_at.read(LINE) or ())}")
        served = []
        while running := await redis_at.read("leases:a"):
            served.append(running[0][0].decode())
            await asker.end(served[-1], provider.session)
        assert served == ["t", "y-interactive-3", "x-interactive-1", "x-interactive-2", "z-normal-4", "x-batch-0"]


async def test_nobody_is_given_back_to_a_member_that_failed_it_and_others_pass_by(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q", slots=1) as provider:
        asker = Asker(broker)
        await asker.ask("q", task="on-a")
        await asker.ask("q", task="on-b")
        await asker.ask("q", task="not-a", left_out=("a",))
        await asker.ask("q", task="next")
        await asker.end("on-a", provider.session)
        assert [task.decode() for task, _ in await redis_at.read("leases:a")] == ["next"]
        await asker.end("on-b", provider.session)
        assert [task.decode() for task, _ in await redis_at.read("leases:b")] == ["not-a"]
        for task in ("next", "not-a"):
            await asker.end(task, provider.session)


@pytest.mark.parametrize("how", ["closed", "goodbye", "unpublished"])
async def test_when_the_last_member_goes_who_waits_is_told(redis_at, how):
    async with replica(redis_at, reconnect_grace_seconds=0.1) as broker, Provider(broker, "a", model="q", slots=1) as provider:
        frames, clients = await fill(broker, redis_at, provider, 1, 2)
        if how == "closed":
            await provider.close()
        elif how == "goodbye":
            await provider.post("/_provider-goodbye", {"providerSessionId": provider.session})
            await provider.answer(frames[0])
        else:
            await provider.register(providers=[{"name": "other"}], replace=True)
        answers = [await client for client in clients]
        assert [(status, body["error"]["code"]) for status, body, _ in answers[1:]] == [(503, "publisher_offline")] * 2
        with pytest.raises(UnknownLLM if how == "unpublished" else PublisherOffline):
            await Asker(broker).ask("q")


async def test_when_one_member_goes_the_others_serve_the_line(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0.1) as broker, Provider(broker, "b", model="q", slots=1) as stays:
        async with Provider(broker, "a", model="q", slots=1) as leaves:
            clients = [asked(broker.chat("q", number=number)) for number in range(4)]
            frame = await stays.next()
            await leaves.next()
            await eventually(lambda: has(redis_at, LINE, 2))
        await eventually(lambda: has(redis_at, LINE, 3))
        await stays.answer(frame)
        await serve(stays, clients[1:])
        assert [(await client)[0] for client in clients] == [200] * 4


async def test_a_publisher_that_comes_back_serves_who_waited(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker, Provider(broker, "a", model="q", slots=1, instance="i") as provider:
        frames, clients = await fill(broker, redis_at, provider, 1, 1)
        await provider.close()
        await provider.open()
        again = await provider.next()
        assert again["taskId"] == frames[0]["taskId"]
        await provider.answer(again)
        await serve(provider, clients[1:])
        assert [(await client)[0] for client in clients] == [200, 200]


async def test_who_waits_too_long_is_told_and_a_deadline_ends_the_wait(redis_at):
    async with replica(redis_at, queue_wait_seconds=0.2) as broker, Provider(broker, "a", model="q", slots=1) as provider:
        frames, clients = await fill(broker, redis_at, provider, 1, 0)
        assert (await broker.chat("q"))[1]["error"]["code"] == "queue_timeout"
        status, body, _ = await broker.chat("q", headers={"X-Deadline-Seconds": "0.1"})
        assert status == 504 and not await redis_at.read(LINE)
        await provider.answer(frames[0])
        assert (await clients[0])[0] == 200
