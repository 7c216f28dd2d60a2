"""Turns that go wrong: what the caller is told, what is kept, and that the thread goes on after every one of them."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.messages import call_piece, chunk, completion
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.backend import Backend, Script
from tests.support.streams import asked
from tests.support.threads import (
    BOT, KIND, THREADS, ask, assistant, cancel, following, make_thread, messages, said, say, telling, thread_of, turn, under_way, user,
)
from tests.support.waiting import eventually


async def goes_on(broker, provider, thread: str, *before: dict) -> None:
    """The next turn is sent only what went well before."""
    request = await ask(broker, provider, thread, "again")
    assert request["messages"] == [KIND, *before, user("again")]


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_refusal_before_the_first_word_is_a_plain_one(redis_at, streaming):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        asking = asked(say(broker, thread, stream=streaming))
        await provider.answer(await provider.next(), {"error": {"message": "too hot", "code": "hot"}}, status=429)
        status, body, headers = await asking
        assert status == 429 and body["error"]["code"] == "hot" and "too hot" in body["error"]["message"] and headers["Retry-After"]
        shown = await turn(broker, thread)
        assert shown["status"] == "error" and shown["error"]["code"] == "hot" and shown["error"]["status"] == 429 and shown["message"] is None
        (kept,) = await messages(broker, thread)
        assert kept["status"] == "error" and kept["error"] == shown["error"] and kept["content"] == "hello"
        await goes_on(broker, provider, thread)


@pytest.mark.parametrize("streaming", [True, False])
async def test_without_its_publisher_a_turn_is_503_and_goes_on_when_it_is_back(redis_at, streaming):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await provider.close()
        await broker.until_status("m", "inactive")
        status, body, headers = await say(broker, thread, stream=streaming)
        assert status == 503 and body["error"]["code"] == "agent_offline" and headers["Retry-After"]
        assert await messages(broker, thread) == []
        await provider.open()
        await goes_on(broker, provider, thread)


async def test_without_the_llms_publisher_a_turn_is_503_and_marked(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m", systemPrompt="be kind")
        thread = await make_thread(broker)
        await provider.close()
        await broker.until_status("m", "inactive")
        status, body, _ = await say(broker, thread)
        assert status == 503 and body["error"]["code"] == "publisher_offline"
        assert said(await messages(broker, thread)) == [(1, "user", "hello", "error")]
        await provider.open()
        await goes_on(broker, provider, thread)


async def test_what_was_said_of_an_answer_that_failed_is_kept_and_never_sent_again(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await ask(broker, provider, thread, "q", "a")
        async with under_way(broker, provider, thread, "one ", "two") as live:
            await provider.fail(live.frame, "the GPU fell off", "backend_error")
            (error,) = await live.stream.rest()
        assert (error.id, error.name) == (3, "error")
        assert error.data["error"]["status"] == 502 and "GPU" in error.data["error"]["message"]
        assert said(await messages(broker, thread))[2:] == [(2, "user", "hello", "error"), (2, "assistant", "one two", "error")]
        shown = await turn(broker, thread, 2)
        assert shown["status"] == "error" and shown["error"] == error.data["error"] and shown["message"] is None
        await goes_on(broker, provider, thread, user("q"), assistant("a"))


async def test_an_answer_that_breaks_off_is_an_error(redis_at):
    async with Backend(script=Script(tokens=5, break_after=2)) as backend, replica(redis_at, **HERE) as broker:
        await make_llm(broker, "gpt", backend.url)
        await make_agent(broker, "bot", "gpt")
        thread = await make_thread(broker)
        async with telling(broker, thread) as stream:
            found = await stream.rest()
        assert [event.name for event in found] == ["text", "text", "error"]
        assert (await thread_of(broker, thread))["running"] is None
        assert [one["status"] for one in await messages(broker, thread)] == ["error", "error"]


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_whole_turn_has_one_deadline(redis_at, streaming):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        asking = asked(say(broker, thread, stream=streaming, headers={"X-Deadline-Seconds": "0.3"}))
        frame = await provider.next()
        status, body, _ = await asking
        assert status == 504 and body["error"]["code"] == "deadline_exceeded"
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")
        await goes_on(broker, provider, thread)


async def test_a_cancelled_turn_ends_at_once_with_what_was_said(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, "one ") as live:
            assert await cancel(broker, thread) == 204
            assert (await provider.next("cancel"))["taskId"] == live.frame["taskId"]
            (error,) = await live.stream.rest()
            assert error.data["error"]["code"] == "cancelled"
        await provider.fail(live.frame, "stopped")
        assert said(await messages(broker, thread)) == [(1, "user", "hello", "error"), (1, "assistant", "one ", "error")]
        assert await cancel(broker, thread) == 204
        await goes_on(broker, provider, thread)
        assert await cancel(broker, thread, 2) == 204
        assert (await turn(broker, thread, 2))["status"] == "complete"


async def test_a_client_that_does_not_stream_is_told_of_the_cancel(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        asking = asked(say(broker, thread))
        frame = await provider.next()
        assert await cancel(broker, thread) == 204
        status, body, _ = await asking
        assert status == 499 and body["error"]["code"] == "cancelled"
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")
        await goes_on(broker, provider, thread)


async def test_the_request_of_a_turn_can_be_cancelled_too(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread) as live:
            request = live.stream.headers["X-Request-Id"]
            assert (await broker.call("DELETE", f"/api/v1/requests/{request}"))[0] == 200
            (error,) = await live.stream.rest()
            assert error.data["error"]["code"] == "request_cancelled"
            assert (await provider.next("cancel"))["taskId"] == live.frame["taskId"]
        await provider.fail(live.frame, "stopped")
        await goes_on(broker, provider, thread)


async def test_a_deleted_thread_ends_its_turn(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread) as live, following(broker, thread) as stream:
            assert (await broker.call("DELETE", f"{THREADS}/{thread}"))[0] == 204
            assert (await provider.next("cancel"))["taskId"] == live.frame["taskId"]
            for one in (live.stream, stream):
                assert (await one.rest())[-1].data["error"]["code"] == "cancelled"
        await provider.fail(live.frame, "stopped")
        keys = [key for key in await redis_at.keys() if b"thread" in key or b"turn" in key]
        assert all(key.startswith(b"thread-events:") for key in keys), keys


async def test_calls_and_their_results_are_told_kept_and_sent_again(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)

        async def play():
            frame = await provider.next()
            await provider.chunk(frame, chunk(content="let me see"))
            await provider.chunk(frame, chunk("tool_calls", tool_calls=[call_piece(0, "c1", "look", '{"at": 1.0}')]))
            await provider.chunk(frame, "[DONE]", done=True)
            frame = await provider.next()
            await provider.chunk(frame, chunk("stop", content="done"))
            await provider.chunk(frame, "[DONE]", done=True)
            return frame

        playing = asked(play())
        async with telling(broker, thread) as stream:
            found = await stream.rest()
        again = await playing
        assert [event.name for event in found] == ["text", "tool_call", "tool_result", "text", "final"]
        assert found[1].data == {"id": "c1", "name": "look", "arguments": '{"at": 1.0}'}
        assert found[2].data["isError"] is True and found[2].data["id"] == "c1"
        kept = await messages(broker, thread)
        assert [(one["role"], one["status"]) for one in kept] == [(role, "complete") for role in ("user", "assistant", "tool", "assistant")]
        assert kept[1]["toolCalls"] == [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1.0}'}}]
        assert kept[2]["toolCallId"] == "c1" and kept[3]["content"] == "done" and kept[0]["toolCalls"] is None
        request = await ask(broker, provider, thread, "and?")
        assert request["messages"] == [*again["request"]["messages"], assistant("done"), user("and?")]


async def test_a_turn_that_never_stops_calling_ends_at_its_limit(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        asking = asked(say(broker, thread, maxIterations=2))
        for _ in range(2):
            call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
            await provider.answer(await provider.next(), completion("tool_calls", content=None, tool_calls=[call]))
        status, body, _ = await asking
        assert status == 502 and body["error"]["code"] == "max_iterations"
        assert [(one["role"], one["status"]) for one in await messages(broker, thread)] == [("user", "error"), ("assistant", "error"), ("tool", "error")]
        await goes_on(broker, provider, thread)


async def test_a_shutdown_lets_turns_end_and_ends_the_rest(redis_at):
    async with replica(redis_at) as broker:
        async with replica(redis_at) as leaving, Provider(broker, "m", agents=BOT, slots=2) as provider:
            first, second = await make_thread(leaving), await make_thread(leaving)
            async with under_way(leaving, provider, first, "a") as ends, under_way(leaving, provider, second, "b") as hangs:
                draining = asked(leaving.broker.drain(1.0))
                await ends.finish()
                assert (await ends.stream.rest())[-1].name == "final"
                (error,) = await hangs.stream.rest()
                assert (error.name, error.data["error"]["code"], error.data["error"]["status"]) == ("error", "broker_stopped", 503)
                await draining
            assert (await provider.next("cancel"))["taskId"] == hangs.frame["taskId"]
            await provider.fail(hangs.frame, "stopped")
            assert said(await messages(broker, second)) == [(1, "user", "hello", "error"), (1, "assistant", "b", "error")]
            await goes_on(broker, provider, second)


async def test_a_turn_that_nobody_runs_though_its_replica_lives_is_ended(redis_at):
    """As an older copy of the data, or an end that could not be written, leaves it."""
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        redis = redis_at.redis()
        prefix = f"rv:{{{redis_at.namespace}}}:"
        name = broker.broker.store.replica.name
        await redis.hset(f"{prefix}thread:{thread}", mapping={
            "running": "ghost", "runningIndex": 1, "turns": 1, "replica": name, "keepMs": 1000, "lastTurnAt": 1,
        })
        await redis.sadd(f"{prefix}turns:{name}", thread)
        await redis.aclose()

        async def over() -> bool:
            return (await thread_of(broker, thread))["running"] is None

        await eventually(over)
        assert (await turn(broker, thread))["error"]["code"] == "replica_lost"
        await goes_on(broker, provider, thread)


async def test_of_a_cancel_and_an_end_one_counts(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        for number in range(1, 9):
            asking = asked(say(broker, thread))
            frame = await provider.next()
            (status, body, _), _, deleted = await asyncio.gather(
                asking, provider.answer(frame, completion(content="hi")), cancel(broker, thread, number)
            )
            shown = await turn(broker, thread, number)
            assert deleted == 204 and (status, shown["status"]) in ((200, "complete"), (499, "error")), body
            while not provider.frames.empty():
                await provider.next("cancel")
