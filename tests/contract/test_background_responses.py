"""Responses in the background: begun at one replica, read, followed and ended at any."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from tests.contract.test_responses import accepted
from tests.support.brokers import Replica, replica
from tests.support.jobs import task
from tests.support.messages import call_piece, chunk, completion, usage_chunk
from tests.support.provider import Provider
from tests.support.responses import PATH, asking, events, respond
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

SOON = {"job_poll_seconds": 0.05, "job_retry_seconds": 0.01}


async def begin(broker: Replica, headers: dict | None = None, **more) -> dict:
    status, response, _ = await broker.call("POST", PATH, asking(background=True, **more), headers=headers)
    assert status == 200, response
    return response


async def get(broker: Replica, response: dict, query: str = "") -> dict:
    return (await broker.call("GET", f"{PATH}/{response['id']}{query}"))[1]


async def ended(broker: Replica, response: dict) -> dict:
    async def done() -> dict | None:
        now = await get(broker, response)
        return now if now["status"] not in ("queued", "in_progress") else None

    return await eventually(done)


async def read_on(broker: Replica, response: dict, after: int | None = None) -> bytes:
    query = "?stream=true" if after is None else f"?stream=true&starting_after={after}"
    async with broker.http.get(f"{broker.url}{PATH}/{response['id']}{query}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def test_a_response_in_the_background_is_answered_without_its_client(redis_at):
    async with replica(redis_at, **SOON) as one, replica(redis_at, **SOON) as other, Provider(one, "m") as provider:
        queued = await begin(one, metadata={"a": "b"})
        assert queued["status"] in ("queued", "in_progress") and queued["background"] is True and queued["output"] == []
        frame = await provider.next()
        assert frame["request"]["messages"] == [{"role": "user", "content": "hello"}]
        assert (await get(other, queued))["status"] == "in_progress"
        await provider.answer(frame, completion(content="hi"))
        response = await ended(other, queued)
        assert response["status"] == "completed" and response["output"][0]["content"][0]["text"] == "hi"
        assert response["completed_at"] >= response["created_at"] and response["metadata"] == {"a": "b"}
        assert await get(one, queued) == response
        sent, _, _ = await respond(one, provider, completion(content="bye"), previous_response_id=response["id"])
        assert [message["content"] for message in sent["messages"]] == ["hello", "hi", "hello"]


async def test_its_stream_is_the_same_at_every_replica_and_from_every_event_on(redis_at):
    async with replica(redis_at, **SOON) as one, replica(redis_at, **SOON) as other, Provider(one, "m") as provider:

        async def open_stream() -> bytes:
            async with one.http.post(one.url + PATH, json=asking(background=True, stream=True)) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.read()

        following = asked(open_stream())
        frame = await provider.next()
        await provider.chunk(frame, chunk(reasoning_content="hm"))
        await provider.chunk(frame, chunk(content="a"))
        for one_chunk in (chunk(content="b"), chunk(tool_calls=[call_piece(0, "c1", "f", "{}")]), chunk("stop"), usage_chunk(1, 2)):
            await provider.chunk(frame, one_chunk)
        await provider.chunk(frame, "[DONE]", done=True)
        whole = await following
        said = events(whole)
        assert [event["type"] for event in said[:3]] == ["response.created", "response.queued", "response.in_progress"]
        assert accepted(said).output_text == "ab"
        response = said[-1]["response"]
        assert await get(other, response) == response
        for after in (None, -1, 0, 5, len(said) - 2):
            rest = await read_on(other, response, after)
            assert whole.endswith(rest) and events(rest) == said[(-1 if after is None else after) + 1 :]


async def test_who_comes_back_in_the_middle_gets_the_rest_live(redis_at):
    async with replica(redis_at, **SOON) as one, replica(redis_at, **SOON) as other, Provider(one, "m") as provider:
        async with one.http.post(one.url + PATH, json=asking(background=True, stream=True)) as answer:
            frame = await provider.next()
            await provider.chunk(frame, chunk(content="a"))
            first = b""
            while b"output_text.delta" not in first:
                first += await answer.content.readuntil(b"\n\n")
        said = events(first)
        following = asked(read_on(other, said[0]["response"], said[-1]["sequence_number"]))
        await provider.chunk(frame, chunk("stop", content="b"))
        await provider.chunk(frame, "[DONE]", done=True)
        both = said + events(await following)
        assert [event["sequence_number"] for event in both] == list(range(len(both)))
        assert accepted(both).output_text == "ab"


async def test_an_attempt_that_fails_is_followed_by_another_and_every_reader_hears_the_same(redis_at):
    async with replica(redis_at, **SOON) as one, replica(redis_at, **SOON) as other, Provider(one, "m") as provider:
        following = asked(one.http.post(one.url + PATH, json=asking(background=True, stream=True)))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="half"))
        await provider.fail(frame, "the backend died")
        again = await provider.next()
        assert again["taskId"] != frame["taskId"]
        await provider.chunk(again, chunk("stop", content="whole"))
        await provider.chunk(again, "[DONE]", done=True)
        async with await following as answer:
            whole = await answer.read()
        said = events(whole)
        assert accepted(said).output_text == "whole"
        items = [event["item"] for event in said if event["type"] == "response.output_item.done"]
        assert [(item["content"][0]["text"], item["status"]) for item in items] == [("half", "incomplete"), ("whole", "completed")]
        response = said[-1]["response"]
        assert [item["content"][0]["text"] for item in response["output"]] == ["whole"]
        assert await get(other, response) == response and await read_on(other, response) == whole


async def test_a_response_in_the_background_is_cancelled_anywhere(redis_at):
    async with replica(redis_at, **SOON) as one, replica(redis_at, **SOON) as other, Provider(one, "m") as provider:
        running = await begin(one, stream=False)
        frame = await provider.next()
        waiting = await begin(one)
        for response in (waiting, running):
            status, cancelled, _ = await other.call("POST", f"{PATH}/{response['id']}/cancel")
            assert (status, cancelled["status"]) == (200, "cancelled")
            assert (await get(one, response))["status"] == "cancelled"
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")
        said = events(await read_on(other, running))
        assert said[-1]["type"] == "response.failed" and said[-1]["response"]["status"] == "cancelled"
        _, _, foreground = await respond(one, provider, completion(content="x"))
        assert (await other.call("POST", f"{PATH}/{foreground['id']}/cancel"))[0] == 400
        assert (await other.call("GET", f"{PATH}/{foreground['id']}?stream=true"))[0] == 400


async def test_deleting_one_that_runs_ends_its_work(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        running = await begin(broker)
        frame = await provider.next()
        assert (await broker.call("DELETE", f"{PATH}/{running['id']}"))[0] == 200
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")
        assert (await broker.call("GET", f"{PATH}/{running['id']}"))[0] == 404


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_backends_refusal_and_an_answer_that_is_none_are_failed_responses(redis_at, streaming):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        refused = await begin(broker)
        await provider.answer(await provider.next(), {"error": {"message": "too long", "code": "too_long"}}, status=400)
        response = await ended(broker, refused)
        assert response["status"] == "failed"
        assert response["error"] == {"code": "invalid_prompt", "message": "too long", "type": "too_long"}
        nonsense = await begin(broker)
        await provider.answer(await provider.next(), {"no": "completion"})
        response = await ended(broker, nonsense)
        assert response["status"] == "failed" and "chat completion" in response["error"]["message"]
        said = events(await read_on(broker, nonsense))
        assert said[-1]["response"] == response


async def test_the_same_key_is_the_same_response_and_another_owner_sees_none(redis_at):
    async with tokens(redis_at, ann="client+publisher", bob="client") as made, replica(redis_at, **SOON) as broker:
        ann, bob = bearer(made.ann), bearer(made.bob)
        async with Provider(broker, "m", token=made.ann) as provider:
            first = await begin(broker, headers={**ann, "Idempotency-Key": "k"})
            again = await begin(broker, headers={**ann, "Idempotency-Key": "k"})
            assert first["id"] == again["id"]
            await provider.answer(await provider.next(), completion(content="x"))
            for method, path in (("GET", ""), ("GET", "?stream=true"), ("POST", "/cancel"), ("DELETE", "")):
                assert (await broker.call(method, f"{PATH}/{first['id']}{path}", headers=bob))[0] == 404
            async with asyncio.timeout(20):
                while (await broker.call("GET", f"{PATH}/{first['id']}", headers=ann))[1]["status"] != "completed":
                    await asyncio.sleep(0.01)
            assert provider.frames.empty()


async def test_a_target_that_there_is_not_is_refused_at_once(redis_at):
    async with replica(redis_at, **SOON) as broker:
        status, body, _ = await broker.call("POST", PATH, asking("nobody", background=True))
        assert (status, body["error"]["code"]) == (404, "model_not_found")
        assert not [key for key in await redis_at.keys() if key.startswith(b"response:")]


async def test_one_in_the_background_has_the_deadline_that_was_asked_for(redis_at):
    async with replica(redis_at, lease_grace_seconds=0.1, **SOON) as broker, Provider(broker, "m") as provider:
        # Later than any request at once may take.
        patient = await begin(broker, headers={"X-Deadline-Seconds": "7200"})
        brief = await begin(broker, headers={"X-Deadline-Seconds": "0.5"})
        response = await ended(broker, brief)
        assert response["status"] == "failed" and response["error"]["type"] == "deadline_exceeded"
        job = await task(broker, patient["id"].replace("resp_", "job_"))
        lasts = datetime.fromisoformat(job["deadline"]) - datetime.fromisoformat(job["createdAt"])
        assert abs(lasts.total_seconds() - 7200) < 1
        await provider.answer(await provider.next(), completion(content="x"))
        assert (await ended(broker, patient))["status"] == "completed"
