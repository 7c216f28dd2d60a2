"""The events of a turn: numbered, live, followed and resumed from any event on, while it runs and after its end."""

from __future__ import annotations

import asyncio
import json

import pytest

from broker.chat.turns import Asked
from broker.http.context import LIMITS
from tests.support.brokers import replica
from tests.support.messages import chunk
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.threads import BOT, THREADS, Stream, ask, cancel, following, make_thread, messages, say, telling, thread_of, turn, under_way
from tests.support.waiting import eventually


async def ended(broker, thread: str) -> bool:
    return (await thread_of(broker, thread))["running"] is None


async def test_a_follower_hears_what_was_and_what_comes_with_the_same_numbers(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, "one ", "two ") as live, following(broker, thread) as stream:
            assert stream.status == 200 and stream.headers["X-Turn-Index"] == "1"
            assert await stream.texts(2) == ["one ", "two "]
            await live.speak("three")
            event = await stream.next()
            assert (event.id, event.name, event.data) == (3, "text", {"text": "three"})
            await live.finish()
            assert (await stream.rest()) == (await live.stream.rest()) != []


@pytest.mark.parametrize("way", ["query", "header"])
async def test_a_stream_is_resumed_behind_the_last_event_that_was_heard(redis_at, way):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, "a", "b", "c") as live:
            given = {"after": 2} if way == "query" else {"headers": {"Last-Event-ID": "2"}}
            async with following(broker, thread, **given) as stream:
                event = await stream.next()
                assert (event.id, event.data["text"]) == (3, "c")
                await live.finish()
                assert [(event.id, event.name) for event in await stream.rest()] == [(4, "final")]
            async with following(broker, thread, **given) as stream:
                assert [(event.id, event.name) for event in await stream.rest()] == [(3, "text"), (4, "final")]


async def test_many_followers_at_different_events_each_hear_all_of_theirs(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)

        async def hear(after: int) -> list[int]:
            async with following(broker, thread, after=after) as stream:
                return [event.id for event in await stream.rest(10)]

        async with under_way(broker, provider, thread, *"abcde") as live:
            hearing = [asked(hear(after)) for after in (0, 3, 1, 5, 4, 0)]
            await live.speak(*"fghij")
            await live.finish()
            assert await asyncio.gather(*hearing) == [list(range(after + 1, 12)) for after in (0, 3, 1, 5, 4, 0)]


async def test_a_turn_goes_on_when_its_client_leaves(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, "one ") as live:
            live.stream.response.close()
            async with following(broker, thread, after=1) as stream:
                await provider.chunk(live.frame, chunk(content="two"))
                assert (await stream.next()).data == {"text": "two"}
                await live.finish()
                assert (await stream.rest())[-1].data["message"]["content"] == "one two"
        assert provider.frames.empty()


async def test_a_client_that_does_not_stream_may_leave_as_well(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        asking = asked(say(broker, thread))
        frame = await provider.next()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await provider.answer(frame, {"choices": [{"message": {"role": "assistant", "content": "hi"}}]})
        await eventually(lambda: ended(broker, thread))
        assert (await turn(broker, thread))["message"]["content"] == "hi" and provider.frames.empty()


async def test_a_client_that_leaves_while_its_turn_begins_leaves_a_turn_that_runs(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        asking = Asked(
            thread=thread, owner="local", request_id="req_1", content=b'"hello"', streaming=True, personality=None, params={},
            max_iterations=1, patience=broker.broker.app[LIMITS].patience, buffer_bytes=1 << 20,
        )
        beginning = asked(broker.broker.turns.start(asking))
        await asyncio.sleep(0)
        beginning.cancel()
        frame = await provider.next()
        assert (await thread_of(broker, thread))["running"] == 1
        await provider.chunk(frame, "[DONE]", done=True)
        await eventually(lambda: ended(broker, thread))
        assert (await turn(broker, thread))["status"] == "complete"


async def test_a_follower_that_joins_another_further_on_misses_nothing(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, *"abcde") as live, following(broker, thread, after=5) as ahead:
            async with following(broker, thread) as behind:
                await live.speak("f")
                await live.finish()
                assert [event.id for event in await behind.rest()] == list(range(1, 8))
                assert [event.id for event in await ahead.rest()] == [6, 7]


async def test_behind_the_last_event_there_is_nothing_more(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await ask(broker, provider, thread)
        async with following(broker, thread) as stream:
            found = await stream.rest()
        assert [(event.id, event.name) for event in found] == [(1, "text"), (2, "final")]
        for after in (2, 99):
            async with following(broker, thread, after=after) as stream:
                assert stream.status == 204


async def test_a_follower_beyond_what_there_is_hears_the_end(redis_at):
    async with replica(redis_at, comment_every_seconds=0.1) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread) as live, following(broker, thread, after=99) as stream:
            await live.finish()
            assert [event.name for event in await stream.rest()] == ["final"]


async def test_after_their_time_only_the_last_event_is_told_from_what_is_kept(redis_at):
    async with replica(redis_at, turn_events_seconds=0.2) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, "hi") as live:
            await live.finish()
            (final,) = await live.stream.rest()
        async with under_way(broker, provider, thread, "no") as live:
            assert await cancel(broker, thread, 2) == 204
            (error,) = await live.stream.rest()
        await provider.fail(live.frame, "stopped")

        async def gone() -> bool:
            return not [key for key in await redis_at.keys() if b"thread-events" in key]

        await eventually(gone)
        for number, last in ((1, final), (2, error)):
            async with following(broker, thread, number) as stream:
                (event,) = await stream.rest()
                assert (event.name, event.data) == (last.name, last.data)


@pytest.mark.parametrize(("query", "status"), [("?after=x", 422), ("?after=-1", 422), ("?after=²", 422), ("?after=" + "9" * 99, 422)])
async def test_a_number_that_is_none_is_422(redis_real, query, status):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await ask(broker, provider, thread)
        assert (await broker.call("GET", f"{THREADS}/{thread}/turns/1/events{query}"))[0] == status


@pytest.mark.parametrize("number", ["0", "2", "9" * 30])
async def test_a_turn_that_is_not_there_is_404(redis_at, number):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await ask(broker, provider, thread)
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
            status, body, _ = await broker.call(method, f"{THREADS}/{thread}/turns/{number}{path}")
            assert status == 404 and body["error"]["code"] == "unknown_turn"


async def test_a_follower_of_a_thread_that_redis_lost_is_told(redis_at):
    async with replica(redis_at, comment_every_seconds=0.1) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, "a") as live, following(broker, thread) as stream:
            await redis_at.lose(f"thread:{thread}")
            events = await stream.rest()
            assert (events[-1].id, events[-1].name, events[-1].data["error"]["code"]) == (None, "error", "unknown_thread")
            assert (await live.stream.rest())[-1].data["error"]["code"] == "cancelled"
            assert (await provider.next("cancel"))["taskId"] == live.frame["taskId"]
        await provider.fail(live.frame, "stopped")


async def test_a_waiting_stream_is_kept_alive_by_comments(redis_at):
    quick = {"comment_first_seconds": 0.05, "comment_every_seconds": 0.05}
    async with replica(redis_at, **quick) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with telling(broker, thread) as stream:
            async with following(broker, thread) as follower:
                frame = await provider.next()
                waiting = [asked(one.next()) for one in (stream, follower)]
                await eventually(lambda: stream.comments > 1 and follower.comments > 1)
                await provider.fail(frame, "no", "backend_error")
                events = await asyncio.gather(*waiting)
        assert [(event.name, event.data["error"]["status"], event.data["error"]["code"]) for event in events] == [("error", 502, "backend_error")] * 2


async def test_comments_can_be_turned_off_and_the_status_is_then_the_refusals(redis_at):
    quick = {"comment_first_seconds": 0.05, "comment_every_seconds": 0.05}
    async with replica(redis_at, **quick) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        asking = asked(say(broker, thread, stream=True, headers={"X-Wait-Comments": "off", "X-Deadline-Seconds": "0.3"}))
        frame = await provider.next()
        status, body, _ = await asking
        assert status == 504 and body["error"]["code"] == "deadline_exceeded"
        await provider.fail(frame, "stopped")


async def test_a_client_that_does_not_read_loses_its_stream_and_not_the_turn(redis_real):
    words, size = 300, 64 << 10
    async with replica(redis_real, client_buffer_bytes=256 << 10) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        host, port = broker.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        body = json.dumps({"content": "hello", "stream": True}).encode()
        writer.write(b"POST %s/%s/turns HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (THREADS.encode(), thread.encode(), len(body), body))
        frame = await provider.next()
        for number in range(words):
            await provider.chunk(frame, chunk(content=f"{number} " + "x" * size))
        await provider.chunk(frame, "[DONE]", done=True)
        await eventually(lambda: ended(broker, thread))
        shown = await turn(broker, thread)
        assert shown["status"] == "complete" and len(shown["message"]["content"]) > words * size
        heard = b""
        while b"event: error" not in heard:
            piece = await reader.read(1 << 20)
            assert piece, "the stream ended silently"
            heard = heard[-200_000:] + piece
        writer.close()
        last = int(heard[: heard.index(b"event: error")].rsplit(b"id: ", 1)[1].split(b"\n")[0])
        assert b'"code":"client_too_slow"' in heard[heard.index(b"event: error") :]
        async with following(broker, thread, after=last) as stream:
            found = await stream.rest(20)
        assert [event.id for event in found] == list(range(last + 1, words + 2)) and found[-1].name == "final"


async def test_a_slow_follower_misses_nothing_and_holds_up_nobody(redis_real):
    async with replica(redis_real, client_buffer_bytes=64 << 10) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        words = [f"{number} " + "x" * 8192 for number in range(200)]
        async with under_way(broker, provider, thread, "first") as live, following(broker, thread) as slow, following(broker, thread) as quick:
            for word in words:
                await live.speak(word)
            await live.finish()
            assert (await quick.rest())[-1].name == "final"
            found: list = await Stream(slow.response).rest()
            assert [event.id for event in found] == list(range(1, 203))


async def test_events_are_kept_once_and_go_by_themselves(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, *"abc") as live:
            await live.finish()
            await live.stream.rest()
        entries = await redis_at.read(f"thread-events:{thread}:1")
        assert [number for number, _ in entries] == [b"1-0", b"2-0", b"3-0", b"4-0"]
        assert [one["content"] for one in await messages(broker, thread)] == ["hello", "abc"]
