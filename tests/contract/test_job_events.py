"""What happens to a durable task, as events: in order, from any point on, the same whoever reads them and whenever."""

from __future__ import annotations

import json

import pytest

from tests.support.brokers import replica
from tests.support.jobs import SOON, TASKS, events, events_url, next_event, states, submit, task, until
from tests.support.provider import Provider
from tests.support.waiting import eventually

STREAM = {"stream": True}


async def said(provider, *words: str, done: bool = True) -> dict:
    """An attempt that says those words."""
    frame = await provider.next()
    for seq, word in enumerate(words):
        await provider.chunk(frame, word, seq=seq)
    if done:
        await provider.chunk(frame, "[DONE]", done=True, seq=len(words))
    return frame


async def test_states_and_words_come_in_order_live_and_again(redis_at):
    async with replica(redis_at, **SOON) as broker, replica(redis_at, **SOON) as other, Provider(broker, "m") as provider:
        made = await submit(broker, request=STREAM)
        async with other.http.get(events_url(other, made["id"])) as response:
            assert [(await next_event(response))[:2] for _ in range(2)] == [("0", "state"), ("1", "state")]
            frame = await said(provider, "a", done=False)
            assert (await next_event(response))[2] == b"a"
            await provider.chunk(frame, "b", seq=1)
            assert (await next_event(response))[2] == b"b"
            await provider.chunk(frame, "[DONE]", done=True, seq=2)
            assert (await next_event(response))[2] == b"[DONE]"
            last = await next_event(response)
            assert last[0] == "1-last" and json.loads(last[2])["state"] == "done"
            assert not await response.read()
        first, again = await events(broker, made["id"]), await events(other, made["id"])
        assert [one[:2] for one in first] == [one[:2] for one in again] and len(first) == 6
        assert [payload for _, kind, payload in first if not kind] == [b"a", b"b", b"[DONE]"]


async def test_from_any_event_on_come_just_the_later_ones(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker, request=STREAM)
        frame = await said(provider, "x", "y", done=False)
        await provider.fail(frame, "broke off")
        await said(provider, "a", "b")
        await until(broker, made["id"], "done")
        whole = await events(broker, made["id"])
        kinds = [kind or payload.decode() for _, kind, payload in whole]
        assert kinds == ["state", "state", "x", "y", "state", "state", "a", "b", "[DONE]", "state"]
        assert states(whole) == ["queued", "running", "queued", "running", "done"]
        ids = [one[0] for one in whole]
        assert len(set(ids)) == len(ids)
        for number, name in enumerate(ids):
            assert [one[0] for one in await events(broker, made["id"], after=name)] == ids[number + 1 :]
        rest = await events(broker, made["id"], headers={"Last-Event-ID": ids[6]})
        assert [one[0] for one in rest] == ids[7:]


async def test_the_events_of_a_whole_answer_are_its_states(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        async with broker.http.get(events_url(broker, made["id"])) as response:
            await provider.answer(await provider.next(), {"n": 1})
            heard = [await next_event(response) for _ in range(3)]
            assert states(heard) == ["queued", "running", "done"] and not await response.read()


async def test_a_task_that_is_cancelled_in_its_queue_says_so(redis_at):
    async with replica(redis_at, **SOON) as broker:
        async with Provider(broker, "m"):
            pass
        await broker.until_status("m", "inactive")
        made = await submit(broker)
        async with broker.http.get(events_url(broker, made["id"])) as response:
            assert states([await next_event(response)]) == ["queued"]
            await broker.call("DELETE", f"{TASKS}/{made['id']}")
            assert (await next_event(response))[0] == "0-last" and not await response.read()


async def test_while_nothing_happens_comments_say_that_it_waits(redis_at):
    async with replica(redis_at, comment_every_seconds=0.05, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker, request=STREAM)
        async with broker.http.get(events_url(broker, made["id"])) as response:
            await next_event(response)
            assert (await next_event(response))[0] == "1"
            assert await response.content.readuntil(b"\n\n") == b": waiting\n\n"
            await said(provider, "a")
            assert b"data: a" in await response.read()


async def test_a_task_that_is_forgotten_while_somebody_reads_ends_the_stream_with_an_error(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        frame = await provider.next()
        async with broker.http.get(events_url(broker, made["id"])) as response:
            assert states([await next_event(response) for _ in range(2)]) == ["queued", "running"]
            await redis_at.lose(*[key.decode() for key in await redis_at.keys() if key.startswith((b"job", b"queue"))])
            await provider.answer(frame)
            error = await next_event(response, 10)
            assert error[1] == "error" and json.loads(error[2])["error"]["code"] == "unknown_task"


async def test_a_replica_that_goes_away_says_so_and_another_goes_on(redis_at):
    async with replica(redis_at, **SOON) as one, replica(redis_at, **SOON) as two, Provider(two, "m") as provider:
        made = await submit(two, request=STREAM)
        async with one.http.get(events_url(one, made["id"])) as response:
            frame = await said(provider, "a", done=False)
            heard = [await next_event(response) for _ in range(3)]
            await one.broker.drain(0)
            error = await next_event(response)
            assert (error[0], error[1]) == ("", "error") and json.loads(error[2])["error"]["status"] == 503
        await provider.chunk(frame, "[DONE]", done=True, seq=1)
        rest = await events(two, made["id"], after=heard[-1][0])
        assert [kind or payload for _, kind, payload in rest] == [b"[DONE]", "state"]


@pytest.mark.parametrize("after", ["x", "1-", "1-2-3", "1-x", "-1", "1-first"])
async def test_what_is_no_event_is_refused(redis_real, after):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        status, body, _ = await broker.call("GET", f"{TASKS}/{made['id']}/events?after={after}")
        assert (status, body["error"]["param"]) == (422, "after")
        await provider.answer(await provider.next())
        await until(broker, made["id"], "done")


@pytest.mark.parametrize("after", ["1-9999999999999-0-1", "1-1-0-1", "2", "2-end", "7-last", "3-1-0-1", "0-1-0-1", "0-end"])
async def test_an_event_of_another_task_is_refused_and_waited_for_by_nobody(redis_real, after):
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker, request=STREAM)
        await said(provider, "a")
        await until(broker, made["id"], "done")
        status, body, _ = await broker.call("GET", f"{TASKS}/{made['id']}/events?after={after}")
        assert (status, body["error"]["param"]) == (422, "after")


async def test_one_that_goes_back_from_the_line_to_its_queue_was_never_running(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", slots=1) as provider:
        first = await submit(broker)
        await provider.next()
        second = await submit(broker)

        async def waits() -> bool:
            return bool(await redis_at.read("waiting:m"))

        await eventually(waits)
        found = await task(broker, second["id"])
        assert (found["state"], found["position"], found["attempts"]) == ("queued", 0, [])
        async with broker.http.get(events_url(broker, second["id"])) as response:
            assert (await next_event(response))[0] == "0"
            await provider.post("/_provider-goodbye", {"providerSessionId": provider.session})

            async def back() -> bool:
                return (await task(broker, second["id"]))["position"] == 1

            await eventually(back)
            for made in (first, second):
                await broker.call("DELETE", f"{TASKS}/{made['id']}")
            assert (await next_event(response))[0] == "0-last" and not await response.read()


async def test_a_reader_at_a_replica_taken_for_dead_is_sent_away_and_misses_nothing(redis_at):
    settings = {**SOON, "replica_ttl_seconds": 0.4}
    async with replica(redis_at, **settings) as broker, replica(redis_at, **settings) as frozen, Provider(broker, "m") as provider:
        made = await submit(broker, request=STREAM)
        frame = await said(provider, "a", done=False)
        async with frozen.http.get(events_url(frozen, made["id"])) as response:
            heard = [await next_event(response) for _ in range(3)]
            beats = frozen.broker.store.replica.beat
            frozen.broker.store.replica.beat = _nothing
            await eventually(lambda: _not_followed(redis_at, frame["taskId"]))
            frozen.broker.store.replica.beat = beats
            last = await next_event(response, 10)
            assert (last[0], last[1]) == ("", "error") and json.loads(last[2])["error"]["code"] == "broker_restarted"
        await provider.chunk(frame, "b", seq=1)
        await provider.chunk(frame, "[DONE]", done=True, seq=2)
        rest = await events(frozen, made["id"], after=heard[-1][0])
        assert [kind or payload for _, kind, payload in rest] == [b"b", b"[DONE]", "state"]


async def _nothing(**_) -> bool:
    return True


async def _not_followed(place, attempt: str) -> bool:
    return not await place.read(f"followers:{attempt}")
