"""Durable tasks: accepted at once, run when somebody is free, tried again, read and followed later, at any replica."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.brokers import replica
from tests.support.jobs import SOON, TASKS, check_kept_in_order, events, result, states, submit, task, until
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually


async def test_a_task_is_accepted_run_and_its_answer_kept_as_the_backend_gave_it(redis_at):
    async with replica(redis_at, **SOON) as broker, replica(redis_at, **SOON) as other, Provider(broker, "m") as provider:
        status, made, headers = await broker.call("POST", TASKS, {"model": "m", "request": {"messages": [], "n": 1}})
        assert (status, made["state"], headers["Location"]) == (202, "queued", f"{TASKS}/{made['id']}")
        frame = await provider.next()
        assert (frame["llmName"], frame["operation"], frame["request"]) == ("m", "chat", {"messages": [], "n": 1})
        running = await until(other, made["id"], "running")
        assert (running["attempts"][0]["llm"], running["attempts"][0]["endedAt"], running["result"]) == ("m", None, None)
        await provider.answer(frame, {"said": 1}, headers={"x-ratelimit-left": "3", "content-type": "application/json"})
        done = await until(other, made["id"], "done")
        assert done["result"] == {"status": 200, "url": f"{TASKS}/{made['id']}/result"} and done["error"] is None
        assert [(one["llm"], one["status"], one["code"]) for one in done["attempts"]] == [("m", 200, None)]
        status, body, headers = await result(other, made["id"])
        assert (status, body, headers["x-ratelimit-left"]) == (200, b'{"said": 1}', "3")
        await check_kept_in_order(redis_at)


async def test_a_task_waits_while_nobody_is_there_and_runs_when_somebody_comes(redis_at):
    async with replica(redis_at, **SOON) as broker:
        async with Provider(broker, "m") as provider:
            session = provider.session
        await broker.until_status("m", "inactive")
        made = await submit(broker)
        assert (await task(broker, made["id"]))["position"] == 1
        async with Provider(broker, "m", session=session) as provider:
            await provider.answer(await provider.next())
            await until(broker, made["id"], "done")


async def test_tasks_leave_the_slots_to_requests_that_wait(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m", number=1))
        frame = await provider.next()
        jobs = [await submit(broker, request={"number": number}, priority="batch") for number in (10, 11)]
        second = asked(broker.chat("m", number=2))
        third = asked(broker.chat("m", number=3))
        await eventually(lambda: _waits(redis_at, 3))
        order = []
        for _ in range(5):
            order.append(frame["request"]["number"])
            await provider.answer(frame)
            if len(order) < 5:
                frame = await provider.next()
        assert order == [1, 2, 3, 10, 11]
        await asyncio.gather(first, second, third)
        for made in jobs:
            await until(broker, made["id"], "done")


async def _waits(place, count: int) -> bool:
    return len(await place.read("waiting:m") or ()) == count


async def test_a_task_that_waited_in_line_has_its_slot_for_no_longer_than_an_attempt_may_take(redis_at):
    async with replica(redis_at, deadline_seconds=20, **SOON) as broker, Provider(broker, "m", slots=1) as provider:
        chat = asked(broker.chat("m"))
        busy = await provider.next()
        made = await submit(broker)
        await eventually(lambda: _waits(redis_at, 1))
        await provider.answer(busy)
        await chat
        frame = await provider.next()
        assert frame["deadlineMs"] <= 20_000
        [(_, ends)] = await redis_at.read("leases:m")
        assert ends < int((await redis_at.read(f"task:{frame['taskId']}"))[b"started"]) + 30_000
        await provider.answer(frame)
        await until(broker, made["id"], "done")


async def test_a_task_does_not_overtake_the_line_though_a_slot_is_free(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", slots=1) as provider:
        chats = [asked(broker.chat("m", number=1))]
        first = await provider.next()
        chats.append(asked(broker.chat("m", number=2)))
        await eventually(lambda: _waits(redis_at, 1))
        # A free slot beside a line: what a lease that ran out leaves until the reaper comes by.
        redis = redis_at.redis()
        await redis.hset(f"rv:{{{redis_at.namespace}}}:llm:m", "slots", 2)
        await redis.aclose()
        made = await submit(broker, request={"number": 3}, priority="batch")
        await eventually(lambda: _waits(redis_at, 2))
        await provider.answer(first)
        frames = [await provider.next(), await provider.next()]
        assert [frame["request"]["number"] for frame in frames] == [2, 3]
        for frame in frames:
            await provider.answer(frame)
        await asyncio.gather(*chats)
        await until(broker, made["id"], "done")


async def test_tasks_never_take_more_slots_than_there_are(redis_at):
    async with replica(redis_at, **SOON) as one, replica(redis_at, **SOON) as two, Provider(one, "m", slots=3) as provider:
        jobs = [await submit((one, two)[number % 2]) for number in range(12)]
        for _ in range(4):
            frames = [await provider.next() for _ in range(3)]
            assert provider.frames.empty() and len(await redis_at.read("leases:m")) == 3
            for frame in frames:
                provider.move_to((one, two)[len(frame) % 2])
                await provider.answer(frame)
        for made in jobs:
            await until(two, made["id"], "done")
        assert provider.frames.empty()
        await check_kept_in_order(redis_at)


async def test_owners_take_turns_and_an_owner_alone_is_served_in_order(redis_at):
    async with tokens(redis_at, alice="client", bob="client", pub="publisher") as t:
        async with replica(redis_at, **SOON) as broker, Provider(broker, "m", token=t.pub) as provider:
            held = await submit(broker, request={"who": "first"}, headers=bearer(t.alice))
            frame = await provider.next()
            for number in range(3):
                await submit(broker, request={"who": f"alice {number}"}, headers=bearer(t.alice))
            for number in range(3):
                await submit(broker, request={"who": f"bob {number}"}, headers=bearer(t.bob))
            order = []
            for number in range(7):
                order.append(frame["request"]["who"])
                await provider.answer(frame)
                if number < 6:
                    frame = await provider.next()
            # One waits ahead, in the line of requests, since before bob came.
            assert order[:2] == ["first", "alice 0"]
            assert [who for who in order if who.startswith("bob")] == ["bob 0", "bob 1", "bob 2"]
            assert order.index("bob 0") < order.index("alice 2")
            assert held


async def test_a_failed_attempt_is_tried_again_and_the_one_that_answers_is_the_result(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        await provider.fail(await provider.next(), "cuda said no")
        await provider.answer(await provider.next(), {"try": 2}, status=500)
        await provider.answer(await provider.next(), {"try": 3})
        done = await until(broker, made["id"], "done")
        assert [(one["status"], one["code"]) for one in done["attempts"]] == [(502, "backend_error"), (500, None), (200, None)]
        assert done["attempts"][0]["message"] == "cuda said no"
        assert len({one["id"] for one in done["attempts"]}) == 3
        assert (await result(broker, made["id"]))[1] == b'{"try": 3}'


async def test_after_its_last_attempt_a_task_is_dead_with_the_reason_and_can_be_tried_anew(redis_at):
    async with replica(redis_at, job_attempts=2, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        for reason in ("first", "second"):
            await provider.fail(await provider.next(), reason)
        dead = await until(broker, made["id"], "dead")
        assert dead["error"] == {"code": "backend_error", "message": "second"} and dead["result"] is None
        status, body, _ = await broker.call("GET", f"{TASKS}/{made['id']}/result")
        assert (status, body["error"]["code"]) == (404, "no_result") and "second" in body["error"]["message"]
        status, again, _ = await broker.call("POST", f"{TASKS}/{made['id']}/retry")
        assert status == 202, again
        await provider.fail(await provider.next(), "third")
        await provider.answer(await provider.next())
        done = await until(broker, made["id"], "done")
        assert len(done["attempts"]) == 4
        status, body, _ = await broker.call("POST", f"{TASKS}/{made['id']}/retry")
        assert (status, body["error"]["code"]) == (409, "conflict")


async def test_a_refusal_of_the_backend_is_the_result_of_a_failed_task(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        await provider.answer(await provider.next(), {"error": {"message": "bad"}}, status=400)
        failed = await until(broker, made["id"], "failed")
        assert failed["result"]["status"] == 400 and len(failed["attempts"]) == 1
        status, body, _ = await result(broker, made["id"])
        assert (status, json.loads(body)) == (400, {"error": {"message": "bad"}})
        assert provider.frames.empty()


async def test_what_counts_of_an_answer_is_the_status_that_it_began_with(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        frame = await provider.next()
        await provider.result(frame, {"status": 200, "headers": {"content-type": "application/json"}})
        await provider.answer(frame, {"n": 1}, status=400)
        done = await until(broker, made["id"], "done")
        assert done["attempts"][0]["status"] == done["result"]["status"] == 200
        assert (await result(broker, made["id"]))[:2] == (200, b'{"n": 1}')


async def test_a_task_whose_publisher_is_lost_is_tried_again(redis_at):
    async with replica(redis_at, **SOON) as broker:
        async with Provider(broker, "m") as provider:
            made = await submit(broker, request={"stream": True})
            await provider.chunk(await provider.next(), "lost")
            session = provider.session
            await provider.post("/_provider-goodbye", {"providerSessionId": session})
        waiting = await until(broker, made["id"], "queued")
        assert waiting["attempts"][0]["code"] == "publisher_offline"
        async with Provider(broker, "m", session=session) as provider:
            frame = await provider.next()
            await provider.chunk(frame, "found")
            await provider.chunk(frame, "[DONE]", done=True)
            await until(broker, made["id"], "done")
        assert (await result(broker, made["id"]))[1] == b"data: found\n\ndata: [DONE]\n\n"


async def test_a_queued_and_a_running_task_are_cancelled(redis_at):
    async with replica(redis_at, **SOON) as broker, replica(redis_at, **SOON) as other, Provider(broker, "m") as provider:
        jobs = [(await submit(broker))["id"] for _ in range(3)]
        frame = await provider.next()
        await eventually(lambda: _waits(redis_at, 1))
        for name in jobs[::-1]:
            status, body, _ = await other.call("DELETE", f"{TASKS}/{name}")
            assert (status, body["state"]) == (200, "cancelled")
            assert (await task(broker, name))["state"] == "cancelled"
        # One waited in the line of requests, which is no attempt.
        assert [len((await task(broker, name))["attempts"]) for name in jobs] == [1, 0, 0]
        assert states(await events(broker, jobs[1])) == ["queued", "cancelled"]
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")
        status, body, _ = await other.call("DELETE", f"{TASKS}/{jobs[0]}")
        assert (status, body["state"]) == (200, "cancelled")
        assert provider.frames.empty()
        await check_kept_in_order(redis_at)
        status, body, _ = await other.call("DELETE", f"{TASKS}?state=cancelled")
        assert body == {"deleted": 3}


async def test_the_same_key_is_the_same_task(redis_at):
    key = {"Idempotency-Key": "k"}
    async with replica(redis_at, **SOON) as broker, replica(redis_at, **SOON) as other, Provider(broker, "m") as provider:
        answers = await asyncio.gather(*(submit((broker, other)[n % 2], headers=key) for n in range(8)))
        assert len({one["id"] for one in answers}) == 1
        await provider.answer(await provider.next())
        done = await until(other, answers[0]["id"], "done")
        again = await submit(broker, headers=key)
        assert (again["id"], again["state"]) == (done["id"], "done")
        status, body, _ = await broker.call("POST", TASKS, {"model": "m", "request": {"messages": [1]}}, headers=key)
        assert (status, body["error"]["code"]) == (409, "idempotency_mismatch")
        assert provider.frames.empty()


async def test_the_same_key_is_the_same_task_after_its_deadline_too(redis_real):
    key = {"Idempotency-Key": "k"}
    async with replica(redis_real, **SOON) as broker, Provider(broker, "m") as provider:
        due = datetime.now(UTC) + timedelta(seconds=0.5)
        made = await submit(broker, deadline=due.isoformat(), headers=key)
        await provider.answer(await provider.next())
        await until(broker, made["id"], "done")

        async def over() -> bool:
            return datetime.now(UTC) > due

        await eventually(over)
        assert (await submit(broker, deadline=due.isoformat(), headers=key))["id"] == made["id"]
        status, body, _ = await broker.call("POST", TASKS, {"model": "m", "request": {}, "deadline": due.isoformat()})
        assert (status, body["error"]["param"]) == (422, "deadline")


async def test_what_a_publisher_says_of_a_failure_cannot_break_what_is_told_of_it(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        await provider.fail(await provider.next(), "two\nlines\tand more", "of\na\tcode")
        await provider.answer(await provider.next())
        done = await until(broker, made["id"], "done")
        assert [(one["code"], one["message"]) for one in done["attempts"]] == [("of a code", "two lines and more"), (None, None)]
        assert len((await broker.call("GET", TASKS))[1]["data"]) == 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "nobody"}, 404, "model_not_found"),
        ({"model": None, "llm": "nobody"}, 404, "model_not_found"),
        ({"model": None, "agent": "nobody"}, 404, "model_not_found"),
        ({"model": "m", "llm": "m"}, 422, "invalid_value"),
        ({"model": None}, 400, "invalid_request"),
        ({"priority": "urgent"}, 422, "invalid_value"),
        ({"operation": "dream"}, 422, "invalid_value"),
        ({"deadlineSeconds": 0}, 422, "invalid_value"),
        ({"deadlineSeconds": -1}, 422, "invalid_value"),
        ({"deadline": "2001-01-01T00:00:00Z"}, 422, "invalid_value"),
        ({"deadline": "2101-01-01T00:00:00"}, 422, "invalid_value"),
        ({"request": [1]}, 400, "invalid_request"),
        ({"webhook": {"url": "http://127.0.0.1:9/", "secret": "s"}}, 422, "invalid_value"),
        ({"webhook": {"url": "gopher://example.com", "secret": "s"}}, 422, "invalid_value"),
        ({"webhook": {"url": "https://example.com", "secret": ""}}, 422, "invalid_value"),
        ({"webhook": {"url": "https://me:key@example.com", "secret": "s"}}, 422, "invalid_value"),
    ],
)
async def test_what_cannot_be_done_is_refused_at_once(redis_real, change, status, code):
    async with replica(redis_real) as broker, Provider(broker, "m"):
        body = {"model": "m", "request": {"messages": []}, **change}
        found, answer, _ = await broker.call("POST", TASKS, body)
        assert (found, answer["error"]["code"]) == (status, code), answer
        assert not [key for key in await redis_real.keys() if key.startswith(b"job")]


async def test_when_too_many_are_queued_more_are_refused(redis_at):
    async with replica(redis_at, jobs_queued=2, **SOON) as broker, Provider(broker, "m") as provider:
        await submit(broker)
        frame = await provider.next()
        await submit(broker)
        await eventually(lambda: _waits(redis_at, 1))
        jobs = [await submit(broker) for _ in range(2)]
        status, body, headers = await broker.call("POST", TASKS, {"model": "m", "request": {}})
        assert (status, body["error"]["code"], headers["Retry-After"]) == (429, "queue_full", "10")
        assert (await task(broker, jobs[1]["id"]))["position"] == 2
        await provider.answer(frame)
        for _ in range(3):
            await provider.answer(await provider.next())
        await until(broker, jobs[1]["id"], "done")


async def test_a_request_that_is_too_large_is_refused(redis_real):
    async with replica(redis_real, job_request_bytes=1000) as broker, Provider(broker, "m"):
        for size in (70_000, 1001):
            status, body, _ = await broker.call("POST", TASKS, {"model": "m", "request": {"padding": "x" * size}})
            assert (status, body["error"]["code"]) == (413, "request_too_large")


async def test_a_large_request_reaches_the_publisher_by_its_address(redis_at):
    async with replica(redis_at, inline_request_bytes=100, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker, request={"padding": "x" * 2000})
        frame = await provider.next()
        _, body, _ = await broker.call("GET", frame["requestUrl"], headers=provider.headers)
        assert body == {"messages": [], "padding": "x" * 2000}
        await provider.answer(frame)
        await until(broker, made["id"], "done")


async def test_a_deadline_ends_a_task_in_its_queue_and_in_its_attempt(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        running = await submit(broker, deadlineSeconds=0.5)
        frame = await provider.next()
        soon = (datetime.now(UTC) + timedelta(seconds=0.6)).isoformat()
        queued = [await submit(broker, deadline=soon) for _ in range(3)]
        for made in (running, *queued):
            dead = await until(broker, made["id"], "dead")
            assert dead["error"]["code"] == "deadline_exceeded"
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")
        status, body, _ = await broker.call("POST", f"{TASKS}/{running['id']}/retry")
        assert status == 409, body
        await check_kept_in_order(redis_at)


async def test_a_deadline_counts_to_the_moment_wherever_the_task_is(redis_at):
    # What a lease has beyond its deadline is for the publisher's last word, not for the task.
    async with replica(redis_at, lease_grace_seconds=20, **SOON) as broker, Provider(broker, "m", slots=1) as provider:
        jobs = [await submit(broker, deadlineSeconds=0.3) for _ in range(2)]
        frame = await provider.next()
        running, waiting = [await until(broker, made["id"], "dead") for made in jobs]
        assert running["error"]["code"] == waiting["error"]["code"] == "deadline_exceeded"
        assert len(running["attempts"]) == 1 and waiting["attempts"] == []
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")
        await check_kept_in_order(redis_at)


async def test_an_attempt_that_falls_silent_is_ended_and_another_follows(redis_at):
    async with replica(redis_at, idle_seconds=0.3, **SOON) as broker, Provider(broker, "m", slots=2) as provider:
        made = await submit(broker, request={"stream": True})
        frame = await provider.next()
        await provider.chunk(frame, "and then")
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")
        frame = await provider.next()
        await provider.chunk(frame, "[DONE]", done=True)
        done = await until(broker, made["id"], "done")
        assert [one["code"] for one in done["attempts"]] == ["stream_stalled", None]


async def test_a_task_is_its_owners_and_an_admins(redis_at):
    async with tokens(redis_at, alice="client", bob="client", root="admin", pub="publisher") as t:
        async with replica(redis_at, **SOON) as broker, Provider(broker, "m", token=t.pub) as provider:
            made = await submit(broker, headers=bearer(t.alice))
            await provider.answer(await provider.next(), {"n": 1})
            path = f"{TASKS}/{made['id']}"

            async def done() -> bool:
                return (await task(broker, made["id"], bearer(t.alice)))["state"] == "done"

            await eventually(done)
            for method, what in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("POST", "/retry"), ("DELETE", "")):
                status, body, _ = await broker.call(method, path + what, headers=bearer(t.bob))
                assert (status, body["error"]["code"]) == (404, "unknown_task"), (method, what)
            assert (await broker.call("GET", TASKS, headers=bearer(t.bob)))[1]["data"] == []
            assert (await result(broker, made["id"], bearer(t.root)))[1] == b'{"n": 1}'
            assert len((await broker.call("GET", TASKS, headers=bearer(t.alice)))[1]["data"]) == 1


async def test_lists_are_newest_first_filtered_and_paged(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", slots=9) as provider:
        jobs = [(await submit(broker, request={"n": n}))["id"] for n in range(7)]
        for _ in range(7):
            frame = await provider.next()
            await provider.answer(frame, status=400 if frame["request"]["n"] % 2 else 200)
        for name in jobs:
            await until(broker, name, "done", "failed")

        async def pages(query: str) -> list[list[str]]:
            found, after = [], ""
            while True:
                _, page, _ = await broker.call("GET", f"{TASKS}?{query}{after}")
                found.append([one["id"] for one in page["data"]])
                if not page["next"]:
                    return found
                after = f"&after={page['next']}"

        assert await pages("limit=3") == [jobs[6:3:-1], jobs[3:0:-1], jobs[:1]]
        assert [name for page in await pages("limit=2&state=done") for name in page] == jobs[::2][::-1]
        assert await pages("state=dead") == [[]]
        for query in ("state=lost", "limit=0", "after=x", "after=%D9%A3"):
            assert (await broker.call("GET", f"{TASKS}?{query}"))[0] in (400, 422)
        _, body, _ = await broker.call("DELETE", f"{TASKS}?state=failed")
        assert body == {"deleted": 3}
        assert await pages("") == [jobs[::2][::-1]]
        assert (await broker.call("DELETE", f"{TASKS}?state=running"))[0] == 422
        await check_kept_in_order(redis_at)


async def test_an_ended_task_is_forgotten_with_its_answer(redis_at):
    async with replica(redis_at, result_seconds=0.3, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        await provider.answer(await provider.next())
        await eventually(lambda: _gone(redis_at))
        assert (await broker.call("GET", f"{TASKS}/{made['id']}"))[0] == 404


async def _gone(place) -> bool:
    return not [key for key in await place.keys() if key.startswith((b"job:", b"jobs", b"kept:", b"queue"))]


async def test_a_task_that_has_not_ended_has_no_result_yet(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker)
        frame = await provider.next()
        status, body, headers = await broker.call("GET", f"{TASKS}/{made['id']}/result")
        assert (status, body["error"]["code"], headers["Retry-After"]) == (409, "task_unfinished", "2")
        await provider.answer(frame)
        await until(broker, made["id"], "done")
        assert states(await events(broker, made["id"])) == ["queued", "running", "done"]


async def test_of_an_attempt_with_two_heads_the_first_counts(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        made = await submit(broker, request={"stream": True})
        frame = await provider.next()
        await provider.result(frame, {"status": 200, "headers": {}})
        await provider.answer(frame, {"n": 1}, status=400)
        assert (await until(broker, made["id"], "done", "failed"))["state"] == "done"
        assert (await result(broker, made["id"]))[0] == 200
