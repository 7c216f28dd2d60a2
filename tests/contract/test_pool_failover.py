"""Before the first byte another member takes over; after it never. Whoever is left says the last word."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.backend import Backend, Script
from tests.support.brokers import replica
from tests.support.pools import explained, make_pool
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.streams import asked, event_of, stream, streaming
from tests.support.waiting import eventually

OK = {"choices": []}
BOTH = ["whole", "stream"]


def ask(broker, how: str, **more) -> asyncio.Task:
    return asked(broker.chat("q", **more) if how == "whole" else stream(broker, "q", **more))


async def heard(task: asyncio.Task, how: str) -> tuple[int, object, object]:
    """(status, what was said, headers)."""
    answer = await task
    return answer if how == "whole" else (answer.status, answer.payloads, answer.headers)


async def say(provider: Provider, frame: dict) -> object:
    """Answers; what its client is to hear of that."""
    if not frame["streaming"]:
        await provider.answer(frame, OK)
        return OK
    await provider.chunk(frame, "{}")
    await provider.chunk(frame, "[DONE]", done=True)
    return [b"{}", b"[DONE]"]


async def break_by(what: str, provider: Provider, frame: dict) -> None:
    if what == "error":
        await provider.fail(frame, "broken")
    elif what == "unreachable":
        await provider.fail(frame, "no such host", code="backend_unreachable")
    elif what in ("429", "500", "503"):
        await provider.answer(frame, {"error": "no"}, status=int(what))
    elif what == "head":
        await provider.result(frame, {"status": 200, "headers": {"content-type": "text/event-stream"}})
        await provider.fail(frame, "broken behind its head")
    elif what == "unpublished":
        await provider.replica.call("DELETE", f"/api/v1/llms/{frame['llmName']}")


@pytest.mark.parametrize("how", BOTH)
@pytest.mark.parametrize("what", ["error", "unreachable", "429", "500", "head", "unpublished"])
async def test_a_member_that_fails_before_the_first_byte_is_replaced(redis_at, what, how):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = ask(broker, how)
        first = await provider.next()
        await break_by(what, provider, first)
        if what == "unpublished":
            await provider.next("cancel")
        second = await provider.next()
        assert (first["llmName"], second["llmName"]) == ("a", "b") and first["taskId"] != second["taskId"]
        said = await say(provider, second)
        status, answer, headers = await heard(task, how)
        assert (status, answer, headers["X-Served-By"]) == (200, said, "b") and headers["X-Request-Id"] == first["taskId"]
        await eventually(lambda: failures(broker, headers))
        told = await explained(broker, headers)
        assert (told["servedBy"], told["retries"]) == ("b", 1)


async def failures(broker, headers, count: int = 1) -> list[str] | None:
    """Why so many members failed; None while that many are not told of."""
    found = [one["failed"] for one in (await explained(broker, headers))["attempts"] if one["failed"]]
    return found if len(found) == count else None


@pytest.mark.parametrize("how", BOTH)
async def test_a_publisher_that_is_lost_is_replaced(redis_at, how):
    async with replica(redis_at, reconnect_grace_seconds=0.1) as broker, Provider(broker, "b", model="q") as other:
        async with Provider(broker, "a", model="q") as lost:
            task = ask(broker, how)
            await lost.next()
            await lost.close()
            said = await say(other, await other.next())
        status, answer, headers = await heard(task, how)
        assert (status, answer, headers["X-Served-By"]) == (200, said, "b")


@pytest.mark.parametrize("how", BOTH)
async def test_a_member_that_says_nothing_for_too_long_is_replaced_and_told_to_stop(redis_at, how):
    async with replica(redis_at, pool_first_byte_seconds=0.6) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = ask(broker, how)
        first = await provider.next()
        frames = [await provider.frames.get(), await provider.frames.get()]
        assert {"kind": "cancel", "taskId": first["taskId"], "reason": "stream_stalled"} in frames
        second = next(frame for frame in frames if frame["kind"] == "infer")
        said = await say(provider, second)
        assert (await heard(task, how))[:2] == (200, said)
        await provider.fail(first, "stopped")


@pytest.mark.parametrize("how", BOTH)
@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_a_refusal_of_the_request_itself_is_the_answer(redis_real, status, how):
    async with replica(redis_real) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = ask(broker, how)
        await provider.answer(await provider.next(), {"error": "yours"}, status=status)
        answer = await task
        assert (answer[0] if how == "whole" else answer.status) == status and provider.frames.empty()


async def test_at_most_two_others_are_asked_and_the_last_one_says_the_last_word(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", "c", "d", model="q") as provider:
        task = asked(broker.chat("q"))
        for number in range(3):
            await provider.answer(await provider.next(), {"error": number}, status=500)
        status, body, headers = await task
        assert (status, body, headers["X-Served-By"]) == (500, {"error": 2}, "c") and provider.frames.empty()


async def test_without_others_a_5xx_answer_comes_as_it_came(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q") as provider:
        task = asked(broker.chat("q"))
        await provider.answer(await provider.next(), {"mine": True}, status=503, headers={"retry-after": "7"})
        status, body, headers = await task
        assert (status, body, headers["retry-after"], headers["X-Served-By"]) == (503, {"mine": True}, "7", "a")


async def test_a_5xx_answer_is_given_when_who_was_asked_next_is_lost_too(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = asked(broker.chat("q"))
        await provider.answer(await provider.next(), {"mine": True}, status=500)
        await provider.fail(await provider.next(), "broken")
        status, body, headers = await task
        assert (status, body, headers["X-Served-By"]) == (500, {"mine": True}, "a")


@pytest.mark.parametrize("how", BOTH)
async def test_without_others_the_refusal_is_the_answer(redis_at, how):
    async with replica(redis_at) as broker, Provider(broker, "a", model="q") as provider:
        task = ask(broker, how)
        await provider.fail(await provider.next(), "broken")
        answer = await task
        assert (answer[0] if how == "whole" else answer.status) == 502


async def test_after_the_first_byte_nobody_takes_over(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = ask(broker, "stream")
        frame = await provider.next()
        await provider.chunk(frame, "{}")
        await provider.fail(frame, "broken")
        said = await task
        assert said.status == 200 and said.payloads[0] == b"{}" and said.error["code"] == "backend_error"
        assert provider.frames.empty()


async def test_another_is_asked_also_when_a_comment_is_out_already(redis_at):
    async with replica(redis_at, comment_first_seconds=0.05) as broker, Provider(broker, "a", "b", model="q") as provider:
        async with streaming(broker, "q") as response:
            first = await provider.next()
            assert (await event_of(response)).startswith(b": waiting")
            await provider.fail(first, "broken")
            await say(provider, await provider.next())
            assert (await response.read()).endswith(b"data: {}\n\ndata: [DONE]\n\n")


async def test_public_members_that_fail_are_replaced(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend(Script(status=500)) as bad, Backend(Script(echo=True)) as good:
        await make_llm(broker, "a", bad.url, model="q")
        await make_llm(broker, "b", "http://127.0.0.1:9/v1", model="q")
        await make_llm(broker, "c", good.url, model="q")
        status, body, headers = await broker.chat("q", x=1)
        assert status == 200 and body["x"] == 1 and headers["X-Served-By"] == "c"
        assert await eventually(lambda: failures(broker, headers, 2)) == ["status 500", "upstream_unreachable"]
        await eventually(lambda: nothing_runs(redis_at))


async def nothing_runs(place) -> bool:
    return not [key for key in await place.keys() if key.startswith((b"task:", b"leases:", b"asked:"))]


async def test_a_virtual_member_takes_over_from_a_public_one_and_the_other_way(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend(Script(echo=True)) as good, Provider(broker, "v") as provider:
        await make_llm(broker, "good", good.url)
        await make_llm(broker, "bad", "http://127.0.0.1:9/v1")
        await make_pool(broker, "q", {"llm": "bad"}, {"llm": "v", "tier": 1}, {"llm": "good", "tier": 2})
        task = asked(broker.chat("q", x=1))
        await provider.fail(await provider.next(), "broken")
        status, body, headers = await task
        assert (status, body["x"], headers["X-Served-By"]) == (200, 1, "good")


async def test_the_deadline_goes_over_all_attempts(redis_at):
    async with replica(redis_at, deadline_seconds=1.5) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = asked(broker.chat("q"))
        first = await provider.next()
        await eventually(lambda: elapsed(broker, 0.4))
        await provider.fail(first, "broken")
        second = await provider.next()
        assert second["deadlineMs"] < 1200
        status, body, _ = await task
        assert status == 504 and body["error"]["code"] == "deadline_exceeded"
        await provider.fail(second, "too late")


def elapsed(broker, seconds: float) -> bool:
    started = next(iter(broker.broker.post.exchanges.values())).started_at
    return asyncio.get_running_loop().time() - started > seconds


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_request_is_looked_at_and_cancelled_during_any_attempt(redis_at, attempt):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = asked(broker.chat("q"))
        frame = await provider.next()
        request = frame["taskId"]
        if attempt == 2:
            await provider.fail(frame, "broken")
            frame = await provider.next()
        status, found, _ = await broker.call("GET", f"/api/v1/requests/{request}")
        assert status == 200 and (found["id"], found["llm"], found["state"]) == (request, frame["llmName"], "sent")
        assert (await broker.call("DELETE", f"/api/v1/requests/{request}"))[0] == 200
        status, body, _ = await task
        assert status == 499 and body["error"]["code"] == "request_cancelled"
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")


async def test_a_client_that_leaves_during_the_second_attempt_cancels_that(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = asked(broker.chat("q"))
        await provider.fail(await provider.next(), "broken")
        second = await provider.next()
        task.cancel()
        assert (await provider.next("cancel"))["taskId"] == second["taskId"]
        await provider.fail(second, "stopped")
