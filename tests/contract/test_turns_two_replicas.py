"""Turns over several replicas: a thread goes on at any, is followed and cancelled from any, and outlives each."""

from __future__ import annotations

import asyncio
import uuid

import aiohttp
import pytest

from broker.store.turns import Batch
from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.threads import BOT, THREADS, KIND, ask, assistant, cancel, following, make_thread, messages, said, say, thread_of, turn, under_way, user
from tests.support.waiting import eventually

QUICK_DEATH = {"replica_ttl_seconds": 0.4, "reconnect_grace_seconds": 3}


async def test_a_thread_goes_on_at_another_replica(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m", agents=BOT) as provider:
        thread = await make_thread(one)
        await ask(one, provider, thread, "q", "a")
        request = await ask(two, provider, thread, "and?")
        assert request["messages"] == [KIND, user("q"), assistant("a"), user("and?")]
        assert await messages(one, thread) == await messages(two, thread)


async def test_of_two_turns_at_once_exactly_one_begins(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m", agents=BOT) as provider:
        thread = await make_thread(one)
        for number in range(1, 6):
            asking = [asked(say(broker, thread, f"{at}")) for at, broker in enumerate((one, two, one, two))]
            frame = await provider.next()
            await eventually(lambda: sum(task.done() for task in asking) == 3)
            await provider.answer(frame, {"choices": [{"message": {"role": "assistant", "content": "hi"}}]})
            answers = await asyncio.gather(*asking)
            assert sorted(status for status, *_ in answers) == [200, 409, 409, 409]
            assert provider.frames.empty() and len(await messages(one, thread)) == 2 * number


async def test_a_turn_is_followed_from_another_replica_as_it_is_told(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m", agents=BOT) as provider:
        thread = await make_thread(one)
        async with under_way(one, provider, thread, "a") as live, following(two, thread) as stream:
            assert await stream.texts(1) == ["a"]
            assert said(await messages(two, thread)) == [(1, "user", "hello", "pending")]
            await live.speak("b")
            assert await stream.texts(1) == ["b"]
            await live.finish()
            assert await stream.rest() == await live.stream.rest()


async def test_a_turn_is_cancelled_from_another_replica(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m", agents=BOT) as provider:
        thread = await make_thread(one)
        async with under_way(one, provider, thread, "a") as live:
            assert await cancel(two, thread) == 204
            assert (await thread_of(two, thread))["running"] is None
            assert (await live.stream.rest())[-1].data["error"]["code"] == "cancelled"
            assert (await provider.next("cancel"))["taskId"] == live.frame["taskId"]
        await provider.fail(live.frame, "stopped")
        await ask(two, provider, thread)


async def test_a_thread_deleted_at_another_replica_ends_its_turn(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m", agents=BOT) as provider:
        thread = await make_thread(one)
        async with under_way(one, provider, thread, "a") as live:
            assert (await two.call("DELETE", f"{THREADS}/{thread}"))[0] == 204
            assert (await live.stream.rest())[-1].data["error"]["code"] == "cancelled"
            assert (await provider.next("cancel"))["taskId"] == live.frame["taskId"]
        await provider.fail(live.frame, "stopped")


async def test_a_turn_of_a_dead_replica_ends_and_its_thread_goes_on(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=3) as broker, replica(redis_at, **QUICK_DEATH) as dying:
        async with Provider(broker, "m", agents=BOT) as provider:
            thread = await make_thread(dying)
            async with under_way(dying, provider, thread, "a", "b") as live, following(broker, thread) as stream:
                assert await stream.texts(2) == ["a", "b"]
                await dying.die()
                with pytest.raises(aiohttp.ClientError):
                    await live.stream.next()
                (error,) = await stream.rest()
                assert (error.id, error.name, error.data["error"]["code"], error.data["error"]["status"]) == (3, "error", "replica_lost", 503)
            assert (await provider.next("cancel", 5))["taskId"] == live.frame["taskId"]
            await provider.fail(live.frame, "stopped")
            assert (await turn(broker, thread))["error"] == error.data["error"]
            assert said(await messages(broker, thread)) == [(1, "user", "hello", "error")]
            assert (await ask(broker, provider, thread, "again"))["messages"] == [KIND, user("again")]
            assert not [key for key in await redis_at.keys() if key.startswith(b"turns:")]


async def test_a_replica_taken_for_dead_changes_nothing_any_more(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=3) as broker, replica(redis_at, **QUICK_DEATH) as frozen:
        async with Provider(broker, "m", agents=BOT) as provider:
            thread = await make_thread(frozen)
            async with under_way(frozen, provider, thread, "a") as live:
                beat = frozen.broker.store.replica.beat
                frozen.broker.store.replica.beat = _nothing
                (error,) = await live.stream.rest()
                assert error.data["error"]["code"] in ("replica_lost", "broker_restarted")
                frozen.broker.store.replica.beat = beat
            assert (await provider.next("cancel", 5))["taskId"] == live.frame["taskId"]
            await provider.fail(live.frame, "stopped")
            assert (await turn(broker, thread))["error"]["code"] == "replica_lost"
            assert said(await messages(broker, thread)) == [(1, "user", "hello", "error")]
            await ask(broker, provider, thread)


async def _nothing(**_) -> bool:
    return True


async def begun_at(broker, thread: str):
    """A turn that no process runs: its writes are in the test's hands."""
    token = uuid.uuid4().hex
    content = b'"role":"user","content":"hello"}'
    return await broker.broker.store.turns.begin(thread, "local", token, content, personality=None, limit_bytes=1000)


async def test_a_batch_that_comes_twice_is_kept_once(redis_at):
    async with replica(redis_at, tick_seconds=60) as broker, Provider(broker, "m", agents=BOT):
        thread = await make_thread(broker)
        begun = await begun_at(broker, thread)
        turns = broker.broker.store.turns
        message = b'{"id":"%s.2","turnIndex":1,"createdAt":1,"role":"assistant","content":"hi"}' % thread.encode()
        batch = Batch(1, 1, [message], [("text", b'{"text":"h"}'), ("text", b'{"text":"i"}')])
        assert [await turns.write(begun, batch, hold_ms=1000) for _ in range(2)] == ["ok", "ok"]
        last = Batch(2, 1, [message], [*batch.events[1:], ("final", b"{}")])
        assert [await turns.end(begun, last, b"") for _ in range(2)] == ["ok", "ok"]
        assert [number for number, _ in await redis_at.read(f"thread-events:{thread}:1")] == [b"1-0", b"2-0", b"3-0"]
        assert said(await messages(broker, thread)) == [(1, "user", "hello", "complete"), (1, "assistant", "hi", "complete")]
        assert await turns.end(begun, last, b'{"code":"x"}') == "lost"


async def test_a_turn_that_others_ended_can_write_nothing_any_more(redis_at):
    async with replica(redis_at, tick_seconds=60) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        old = await begun_at(broker, thread)
        turns = broker.broker.store.turns
        assert await turns.end(old, Batch(1, 1, [], []), b'{"code":"x"}') == "ok"
        async with under_way(broker, provider, thread) as live:
            before = await messages(broker, thread)
            batch = Batch(1, 1, [b'{"id":"x","turnIndex":1,"createdAt":1,"role":"assistant","content":"late"}'], [("text", b"{}")])
            assert await turns.write(old, batch, hold_ms=1000) == await turns.end(old, batch, b"") == "lost"
            assert await messages(broker, thread) == before and (await thread_of(broker, thread))["running"] == 2
            await live.finish()
            assert (await live.stream.rest())[-1].name == "final"
