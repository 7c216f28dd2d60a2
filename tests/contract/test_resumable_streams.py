"""Resumable streams: one that asked for it outlives its client and its replica, and is read on anywhere, exactly."""

from __future__ import annotations

import asyncio
import json

import pytest

from broker.http.context import LIMITS
from broker.relay.call import Call
from broker.store.kept import Keep
from tests.support.backend import Backend
from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.resumed import RESUMABLE, events, read_event, rest, resume
from tests.support.streams import asked, stream, streaming
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

DONE = b"[DONE]"


async def orphaned(place) -> bool:
    return any(name.startswith(b"orphan:") for name, _ in await place.read("timers") or ())


def open_stream(broker, **more):
    body = {"model": "m", "messages": [], "stream": True, **more}
    return broker.http.post(broker.url + "/v1/chat/completions", json=body, headers=RESUMABLE)


async def left_behind(broker, provider, place, *said: str, **more) -> tuple[dict, str, list[tuple[str, bytes]]]:
    """A client asks, hears the words that are said, and goes: (frame, stream id, what it heard)."""
    opening = asked(open_stream(broker, **more))
    frame = await provider.next()
    heard = []
    for number, word in enumerate(said):
        await provider.chunk(frame, word, seq=number)
        if number == 0:
            response = await opening
        heard.append(await read_event(response))
    name = response.headers["X-Stream-Id"]
    response.close()
    await eventually(lambda: orphaned(place))
    return frame, name, heard


async def test_events_have_ids_and_the_answer_says_by_which_name_it_is_kept(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m", headers=RESUMABLE))
        frame = await provider.next()
        await provider.result(frame, {"chunk": {"events": "data: a\n\ndata: b\n\n"}})
        await provider.chunk(frame, "[DONE]", done=True)
        said = await asking
        assert said.headers["X-Stream-Id"] == frame["taskId"]
        ids, words = zip(*events(said.body), strict=True)
        assert words == (b"a", b"b", DONE) and len(set(ids)) == 3
        assert [name.rsplit("-", 1)[1] for name in ids] == ["1", "2", "1"]


async def test_a_stream_that_did_not_ask_for_it_is_as_it_always_was(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "[DONE]", done=True)
        said = await asking
        assert said.body == b"data: [DONE]\n\n" and "X-Stream-Id" not in said.headers
        assert not [key for key in await redis_at.keys() if key.startswith((b"kept:", b"followers:"))]


async def test_all_streams_can_be_resumed_where_the_setting_says_so(redis_at):
    async with replica(redis_at, resumable="always") as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await asking).headers["X-Stream-Id"] == frame["taskId"]


async def test_a_client_that_left_goes_on_at_another_replica_where_it_was(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as provider:
        frame, name, heard = await left_behind(broker, provider, redis_at, "a", "b")
        await provider.chunk(frame, "c", seq=2)
        async with resume(other, name, heard[-1][0]) as response:
            assert response.status == 200 and response.headers["X-Stream-Id"] == name
            assert (await read_event(response))[1] == b"c"
            assert not await orphaned(redis_at)
            # Live from here on.
            await provider.chunk(frame, "d", seq=3)
            assert (await read_event(response))[1] == b"d"
            assert (await provider.chunk(frame, "[DONE]", done=True, seq=4))[1] == {"ok": True, "cancelled": False}
            assert [word for _, word in events(await response.read())] == [DONE]
        whole = await rest(broker, name)
        assert [word for _, word in whole] == [b"a", b"b", b"c", b"d", DONE] and whole[:2] == heard
        assert provider.frames.empty()


async def test_a_client_may_say_what_it_has_as_browsers_do(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        frame, name, heard = await left_behind(broker, provider, redis_at, "a", "b")
        await provider.chunk(frame, "[DONE]", done=True, seq=2)
        assert [word for _, word in await rest(broker, name, headers={"Last-Event-ID": heard[0][0]})] == [b"b", DONE]


async def test_from_any_event_the_rest_is_the_same_rest(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m", headers=RESUMABLE))
        frame = await provider.next()
        await provider.chunk(frame, "0", seq=0)
        await provider.result(frame, {"chunk": {"events": "data: 1\n\ndata: 2\n\ndata: 3\n\n"}, "seq": 1})
        await provider.result(frame, {"chunk": {"data": "two\nlines"}, "seq": 2})
        # This backend says no [DONE], so the broker does.
        await provider.result(frame, {"chunk": {"events": "data: 4\n\n", "done": True}, "seq": 3})
        whole = events((await asking).body)
        assert [word for _, word in whole] == [b"0", b"1", b"2", b"3", b"two\nlines", b"4", DONE]
        for number, (event_id, _) in enumerate(whole):
            assert await rest(broker, frame["taskId"], event_id) == whole[number + 1 :]


async def test_work_that_nobody_comes_back_to_is_stopped_after_its_time(redis_at):
    async with replica(redis_at, resume_seconds=1) as broker, Provider(broker, "m") as provider:
        frame, name, heard = await left_behind(broker, provider, redis_at, "a")
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        last = (await rest(broker, name, heard[0][0]))[-1]
        assert json.loads(last[1])["error"]["code"] == "request_cancelled"
        # Who has that as well has all of it.
        assert await rest(broker, name, last[0]) == []
        await provider.fail(frame, "stopped")


async def test_whoever_comes_back_in_time_keeps_the_work_alive(redis_at):
    async with replica(redis_at, resume_seconds=1) as broker, Provider(broker, "m") as provider:
        frame, name, heard = await left_behind(broker, provider, redis_at, "a")
        async with resume(broker, name, heard[0][0]) as response:
            await eventually(lambda: _false(orphaned(redis_at)))
            with pytest.raises(TimeoutError):
                await provider.next("cancel", 1.3)
            response.close()
        await eventually(lambda: orphaned(redis_at))
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")


async def _false(asking) -> bool:
    return not await asking


async def test_a_dead_replicas_stream_goes_on_and_its_client_at_another(redis_at):
    settings = {"replica_ttl_seconds": 0.4, "reconnect_grace_seconds": 3}
    async with replica(redis_at, **settings) as broker, replica(redis_at, **settings) as dying:
        async with Provider(broker, "m") as provider:
            opening = asked(open_stream(dying))
            frame = await provider.next()
            await provider.chunk(frame, "a", seq=0)
            response = await opening
            name, heard = response.headers["X-Stream-Id"], await read_event(response)
            await dying.die()
            await provider.chunk(frame, "b", seq=1)
            await eventually(lambda: orphaned(redis_at))
            following = asked(rest(broker, name, heard[0]))
            await eventually(lambda: redis_at.read(f"followers:{name}"))
            await provider.chunk(frame, "[DONE]", done=True, seq=2)
            assert [word for _, word in await following] == [b"b", DONE]
            assert provider.frames.empty()


async def test_a_replica_that_shuts_down_leaves_kept_work_running(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=5) as broker, Provider(broker, "m") as provider:
        async with replica(redis_at, reconnect_grace_seconds=5) as leaving:
            opening = asked(stream(leaving, "m", headers=RESUMABLE))
            frame = await provider.next()
            await provider.chunk(frame, "a", seq=0)
            await eventually(lambda: leaving.broker.relay.running)
            await leaving.broker.drain(0)
            said = await opening
        # A word of that replica's own, so it has no id and is no event of the stream.
        heard = events(said.body)
        assert heard[0][1] == b"a" and heard[-1][0] == "" and json.loads(heard[-1][1])["error"]["code"] == "broker_stopped"
        following = asked(rest(broker, frame["taskId"], heard[0][0]))
        await eventually(lambda: redis_at.read(f"followers:{frame['taskId']}"))
        await provider.chunk(frame, "[DONE]", done=True, seq=1)
        assert [word for _, word in await following] == [DONE]


async def test_one_that_waits_in_line_keeps_its_place_while_its_client_is_away(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m"))
        held = await provider.next()
        leaving = asked(stream(broker, "m", headers=RESUMABLE, number=2))
        await eventually(lambda: redis_at.read("waiting:m"))
        name = (await redis_at.read("waiting:m"))[0][0].decode()
        leaving.cancel()
        await eventually(lambda: orphaned(redis_at))
        following = asked(rest(broker, name))
        await provider.answer(held)
        frame = await provider.next()
        assert frame["request"]["number"] == 2
        await provider.chunk(frame, "[DONE]", done=True)
        assert [word for _, word in await following] == [DONE] and (await first)[0] == 200


async def test_a_stream_that_fails_ends_for_all_who_follow_it(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as provider:
        frame, name, _ = await left_behind(broker, provider, redis_at, "a")
        following = [asked(rest(one, name)) for one in (broker, other, other)]
        await eventually(lambda: _is(redis_at.read(f"followers:{name}"), 2))
        await provider.fail(frame, "the card fell out")
        ends = [(await one)[-1] for one in following]
        assert ends[0] == ends[1] == ends[2] and json.loads(ends[0][1])["error"]["code"] == "backend_error"


async def _is(reading, count: int) -> bool:
    return len(await reading or ()) == count


async def test_a_cancelled_stream_ends_for_all_who_follow_it(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        frame, name, heard = await left_behind(broker, provider, redis_at, "a")
        following = asked(rest(broker, name, heard[0][0]))
        await eventually(lambda: redis_at.read(f"followers:{name}"))
        assert (await broker.call("DELETE", f"/api/v1/requests/{name}"))[0] == 200
        assert json.loads((await following)[-1][1])["error"]["code"] == "request_cancelled"
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")


async def test_a_reply_larger_than_may_be_kept_ends_with_saying_so(redis_at):
    async with replica(redis_at, max_result_bytes=3000) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m", headers=RESUMABLE))
        frame = await provider.next()
        for number in range(2):
            answer = await provider.chunk(frame, "x" * 2000, seq=number)
        assert answer[1]["cancelled"] is True
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        said = events((await asking).body)
        assert json.loads(said[-1][1])["error"]["code"] == "backend_error"
        assert said == await rest(broker, frame["taskId"])
        await provider.fail(frame, "stopped")


async def test_a_follower_reads_at_its_own_pace_and_misses_nothing(redis_at):
    async with replica(redis_at, client_buffer_bytes=20_000) as broker, Provider(broker, "m") as provider:
        frame, name, heard = await left_behind(broker, provider, redis_at, "0")
        said = [f"{number}:" + "x" * 4000 for number in range(1, 350)]
        for number, word in enumerate(said, 1):
            await provider.chunk(frame, word, seq=number)
        await provider.chunk(frame, "[DONE]", done=True, seq=350)
        # More than one read's worth, and more than it may hold: it pauses, and goes on as soon as it has room.
        async with asyncio.timeout(10):
            assert [word.decode() for _, word in await rest(broker, name, heard[0][0])] == [*said, "[DONE]"]


async def test_only_its_owner_can_follow_a_stream(redis_at):
    async with tokens(redis_at, pub="publisher", ann="client", bob="client") as made, replica(redis_at) as broker:
        async with Provider(broker, "m", token=made.pub) as provider:
            ann, bob = bearer(made.ann), bearer(made.bob)
            asking = asked(stream(broker, "m", headers={**RESUMABLE, **ann}))
            frame = await provider.next()
            await provider.chunk(frame, "[DONE]", done=True)
            await asking
            assert [word for _, word in await rest(broker, frame["taskId"], headers=ann)] == [DONE]
            status, body, _ = await broker.call("GET", f"/api/v1/streams/{frame['taskId']}", headers=bob)
            assert status == 404 and body["error"]["code"] == "unknown_stream"


@pytest.mark.parametrize("after", ["x", "1-2", "1-2-3-4", "-1-0-1", "1" * 17 + "-0-1"])
async def test_what_is_no_events_id_is_refused(redis_real, after):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("GET", f"/api/v1/streams/req_1?after={after}")
        assert status == 422 and body["error"]["param"] == "after"
        assert (await broker.call("GET", "/api/v1/streams/req_1"))[1]["error"]["code"] == "unknown_stream"


async def test_the_answer_of_a_public_llm_goes_on_without_its_client(redis_at):
    async with Backend() as backend, replica(redis_at, **HERE) as broker, replica(redis_at, **HERE) as other:
        await make_llm(broker, "m", backend.url)
        slow = {"tokens": 12, "delay_s": 0.05}
        async with streaming(broker, "m", headers=RESUMABLE, script=slow) as response:
            name, heard = response.headers["X-Stream-Id"], await read_event(response)
        await eventually(lambda: orphaned(redis_at))
        after = await rest(other, name, heard[0])
        assert len(after) == 12 and after[-1][1] == DONE
        assert await rest(broker, name) == [heard, *after]
        assert len(backend.seen) == 1 and backend.seen[0].finished


async def test_a_public_llms_stream_that_nobody_comes_back_to_is_stopped(redis_at):
    async with Backend() as backend, replica(redis_at, resume_seconds=0.2, **HERE) as broker:
        await make_llm(broker, "m", backend.url)
        async with streaming(broker, "m", headers=RESUMABLE, script={"tokens": 1, "hang": "stream"}) as response:
            name, heard = response.headers["X-Stream-Id"], await read_event(response)
        await backend.until(lambda: backend.seen[0].aborted)
        assert json.loads((await rest(broker, name, heard[0]))[-1][1])["error"]["code"] == "request_cancelled"


async def test_the_replica_that_calls_an_upstream_takes_the_stream_with_it(redis_at):
    settings = {"replica_ttl_seconds": 0.4, **HERE}
    async with Backend() as backend, replica(redis_at, **settings) as broker, replica(redis_at, **settings) as dying:
        await make_llm(broker, "m", backend.url)
        async with streaming(dying, "m", headers=RESUMABLE, script={"tokens": 1, "hang": "stream"}) as response:
            name, heard = response.headers["X-Stream-Id"], await read_event(response)
            await dying.die()
        assert json.loads((await rest(broker, name, heard[0]))[-1][1])["error"]["code"] == "broker_lost"


async def test_many_clients_that_come_and_go_all_read_the_same(redis_real):
    async with replica(redis_real) as broker, replica(redis_real) as other, Provider(broker, "m") as provider:
        frame, name, heard = await left_behind(broker, provider, redis_real, "0")

        async def wanderer(number: int) -> list[tuple[str, bytes]]:
            got = [heard[0]]
            while got[-1][1] != DONE:
                async with resume((broker, other)[number % 2], name, got[-1][0]) as response:
                    for _ in range(number % 5 + 1):
                        if got[-1][1] != DONE:
                            got.append(await read_event(response))
                number += 1
            return got

        clients = [asked(wanderer(number)) for number in range(12)]
        for number in range(1, 60):
            await provider.chunk(frame, str(number), seq=number)
            await asyncio.sleep(0)
        await provider.chunk(frame, "[DONE]", done=True, seq=60)
        whole = await rest(broker, name)
        for client in clients:
            assert await client == whole
        assert provider.frames.empty()


@pytest.mark.parametrize("kind", ["virtual", "public"])
async def test_work_that_nobody_waits_for_is_done_and_kept(redis_at, kind):
    keep = Keep(ttl_ms=5000, room_bytes=10_000, grace_ms=0, followed=False)
    async with Backend() as backend, replica(redis_at, **HERE) as broker, replica(redis_at) as other:
        async with Provider(other, "m") as provider:
            await make_llm(broker, "p", backend.url)
            body = b'{"stream": true, "script": {"tokens": 1}}'
            patience = broker.broker.app[LIMITS].patience
            name = "m" if kind == "virtual" else "p"
            await broker.broker.relay.start(Call(name, "chat", body, True, "local", patience, keep=keep), "job_1")
            if kind == "virtual":
                frame = await provider.next()
                await provider.chunk(frame, "a", seq=0)
                # Who looks in and goes leaves no time that runs out.
                async with resume(broker, "job_1") as response:
                    assert (await read_event(response))[1] == b"a"
                await eventually(lambda: _false(redis_at.read("followers:job_1")))
                assert not await orphaned(redis_at)
                await provider.chunk(frame, "[DONE]", done=True, seq=1)
            assert (await rest(other, "job_1"))[-1][1] == DONE


async def test_a_replica_taken_for_dead_sends_its_followers_away(redis_at):
    settings = {"replica_ttl_seconds": 0.4}
    async with replica(redis_at, **settings) as broker, replica(redis_at, **settings) as frozen:
        async with Provider(broker, "m") as provider:
            frame, name, heard = await left_behind(broker, provider, redis_at, "a")
            beats = frozen.broker.store.replica.beat
            frozen.broker.store.replica.beat = _nothing
            following = asked(rest(frozen, name, heard[0][0]))
            await eventually(lambda: redis_at.read(f"followers:{name}"))
            await eventually(lambda: _false(redis_at.read(f"followers:{name}")))
            frozen.broker.store.replica.beat = beats
            last = (await following)[-1]
            assert last[0] == "" and json.loads(last[1])["error"]["code"] == "broker_restarted"
            await provider.chunk(frame, "[DONE]", done=True, seq=1)
            assert [word for _, word in await rest(broker, name, heard[0][0])] == [DONE]


async def _nothing(**_) -> bool:
    return True


@pytest.mark.parametrize("after", ["9999999999999-0-1", "1-0-1", "0-0-1"])
async def test_an_event_of_another_stream_is_refused_and_waited_for_by_nobody(redis_real, after):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m", headers=RESUMABLE))
        frame = await provider.next()
        await provider.chunk(frame, "a", seq=0)
        await provider.chunk(frame, "[DONE]", done=True, seq=1)
        await asking
        status, body, _ = await broker.call("GET", f"/api/v1/streams/{frame['taskId']}?after={after}")
        assert (status, body["error"]["param"]) == (422, "after")


async def test_a_follower_that_reads_nothing_is_given_no_more_beside_one_that_reads(redis_at):
    async with replica(redis_at, client_buffer_bytes=20_000) as broker, Provider(broker, "m") as provider:
        frame, name, heard = await left_behind(broker, provider, redis_at, "0")
        relay, owner = broker.broker.relay, (await redis_at.read(f"task:{name}"))[b"owner"].decode()
        patience = broker.broker.app[LIMITS].patience
        slow, fast = [await relay.follow(name, owner, patience) for _ in range(2)]
        got = 0
        for number in range(1, 30):
            await provider.chunk(frame, "x" * 4000, seq=number)
            while got < number * 4000:
                got += len(await fast.next())
        assert slow.at < fast.at
        await provider.chunk(frame, "[DONE]", done=True, seq=30)
        said = b""
        while not slow.done:
            said += await slow.next()
        assert said.count(b"x" * 4000) == 29 and said.endswith(b"data: [DONE]\n\n")
        for one in (slow, fast):
            relay.end(one, "client gone")
