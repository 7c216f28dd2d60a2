"""Idempotency keys: one request, however often it is sent, is worked on once and answered alike."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.backend import Backend
from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.resumed import RESUMABLE, events, rest
from tests.support.streams import asked, stream
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

KEY = {"Idempotency-Key": "order 66"}
REPLAYED = "Idempotency-Replayed"


async def whole(broker, *, headers=KEY, model="m", **more):
    """(status, bytes, headers) of a chat without streaming."""
    body = {"model": model, "messages": [], **more}
    async with broker.http.post(broker.url + "/v1/chat/completions", json=body, headers=headers) as response:
        return response.status, await response.read(), response.headers


async def test_the_same_request_again_has_the_same_answer_and_is_not_done_again(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as provider:
        first = asked(whole(broker))
        frame = await provider.next()
        await provider.answer(frame, {"n": 1}, headers={"x-ratelimit-left": "3", "content-type": "application/json"})
        status, body, headers = await first
        again = await whole(other)
        assert again[:2] == (status, body) == (200, b'{"n": 1}')
        assert again[2]["x-ratelimit-left"] == headers["x-ratelimit-left"] == "3"
        assert again[2][REPLAYED] == "true" and REPLAYED not in headers
        assert provider.frames.empty()


async def test_of_many_at_once_one_is_done_and_all_are_answered(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m", slots=9) as provider:
        clients = [asked(whole((broker, other)[number % 2])) for number in range(10)]
        await provider.answer(await provider.next(), {"n": 1})
        answers = await asyncio.gather(*clients)
        assert {answer[:2] for answer in answers} == {(200, b'{"n": 1}')}
        assert sum(REPLAYED not in answer[2] for answer in answers) == 1
        assert provider.frames.empty()


async def test_a_stream_is_attached_to_while_it_runs_and_replayed_after(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as provider:
        first = asked(stream(broker, "m", headers=KEY))
        frame = await provider.next()
        await provider.chunk(frame, "a", seq=0)
        second = asked(stream(other, "m", headers=KEY))
        await eventually(lambda: redis_at.read(f"followers:{frame['taskId']}"))
        await provider.chunk(frame, "b", seq=1)
        await provider.chunk(frame, "[DONE]", done=True, seq=2)
        said = await first
        for more in (await second, await stream(other, "m", headers=KEY)):
            assert more.body == said.body == b"data: a\n\ndata: b\n\ndata: [DONE]\n\n"
            assert more.headers[REPLAYED] == "true"


async def test_the_key_with_another_request_is_refused(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        first = asked(whole(broker))
        await provider.answer(await provider.next())
        await first
        for answer in (await whole(broker, number=2), await whole(broker, model="n")):
            assert answer[0] == 409 and b"idempotency_mismatch" in answer[1]
            assert answer[2]["X-Should-Retry"] == "false"
        status, body, _ = await broker.call("POST", "/api/v1/llms/m/infer", {"model": "m", "messages": []}, headers=KEY)
        assert status == 409, body
        assert provider.frames.empty()


async def test_a_key_is_its_owners(redis_at):
    async with tokens(redis_at, pub="publisher", ann="client", bob="client") as made, replica(redis_at) as broker:
        async with Provider(broker, "m", token=made.pub) as provider:
            for number, token in enumerate((made.ann, made.bob)):
                client = asked(whole(broker, headers={**KEY, **bearer(token)}))
                await provider.answer(await provider.next(), {"n": number})
                assert (await client)[1] == b'{"n": %d}' % number


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_an_attempt_that_failed_frees_the_key(redis_at, status):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        first = asked(whole(broker))
        await provider.answer(await provider.next(), {"error": "x"}, status=status)
        assert (await first)[0] == status
        again = asked(whole(broker))
        await provider.answer(await provider.next(), {"n": 2})
        assert (await again)[:2] == (200, b'{"n": 2}') and REPLAYED not in (await again)[2]


async def test_an_attempt_that_the_publisher_gave_up_frees_the_key(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        first, second = asked(whole(broker)), asked(whole(broker))
        await provider.fail(await provider.next(), "out of memory")
        assert [(await one)[0] for one in (first, second)] == [502, 502]
        again = asked(whole(broker))
        await provider.answer(await provider.next())
        assert (await again)[0] == 200


async def test_a_request_that_the_backend_refuses_is_refused_alike_again(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        first = asked(whole(broker))
        await provider.answer(await provider.next(), {"error": {"message": "no"}}, status=400)
        assert (await first)[:2] == (await whole(broker))[:2]
        assert provider.frames.empty()


async def test_a_request_that_was_never_accepted_leaves_no_key(redis_at):
    async with replica(redis_at) as broker:
        assert (await whole(broker))[0] == 404
        async with Provider(broker, "m") as provider:
            client = asked(whole(broker, number=2))
            await provider.answer(await provider.next())
            assert (await client)[0] == 200


async def test_a_deadline_frees_the_key(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        first = asked(whole(broker, headers={**KEY, "X-Deadline-Seconds": "0.2"}))
        frame = await provider.next()
        assert (await first)[0] == 504
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")
        again = asked(whole(broker))
        await provider.answer(await provider.next())
        assert (await again)[0] == 200


async def test_a_client_that_left_finds_its_answer_when_it_asks_again(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        leaving = asked(whole(broker))
        frame = await provider.next()
        leaving.cancel()
        await eventually(lambda: _orphaned(redis_at))
        again = asked(whole(broker))
        await eventually(lambda: redis_at.read(f"followers:{frame['taskId']}"))
        await provider.answer(frame, {"n": 1})
        assert (await again)[:2] == (200, b'{"n": 1}') and (await again)[2][REPLAYED] == "true"
        assert provider.frames.empty()


async def _orphaned(place) -> bool:
    return any(name.startswith(b"orphan:") for name, _ in await place.read("timers") or ())


async def test_one_of_several_that_ask_may_leave(redis_at):
    async with replica(redis_at, resume_seconds=0.2) as broker, Provider(broker, "m") as provider:
        leaving, staying = asked(whole(broker)), None
        frame = await provider.next()
        staying = asked(whole(broker))
        await eventually(lambda: redis_at.read(f"followers:{frame['taskId']}"))
        leaving.cancel()
        with pytest.raises(TimeoutError):
            await provider.next("cancel", 0.6)
        await provider.answer(frame)
        assert (await staying)[0] == 200


async def test_embeddings_and_other_fronts_have_keys_too(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], "stream": True}
        client = asked(_bytes(broker, "/v1/messages", body))
        frame = await provider.next()
        await provider.chunk(frame, '{"choices":[{"delta":{"content":"hi"}}]}', seq=0)
        await provider.chunk(frame, '{"choices":[{"delta":{},"finish_reason":"stop"}]}', seq=1)
        await provider.chunk(frame, "[DONE]", done=True, seq=2)
        assert await client == await _bytes(broker, "/v1/messages", body) and b"hi" in await client
        asking = {"model": "m", "input": "x"}
        embedding = asked(_bytes(broker, "/v1/embeddings", asking, "other"))
        await provider.answer(await provider.next(), {"data": [{"embedding": [1.0]}]})
        assert await embedding == await _bytes(broker, "/v1/embeddings", asking, "other")
        assert provider.frames.empty()


async def _bytes(broker, path: str, body: dict, key: str = "k") -> bytes:
    async with broker.http.post(broker.url + path, json=body, headers={"Idempotency-Key": key}) as response:
        assert response.status == 200
        return await response.read()


async def test_a_public_llm_is_asked_once(redis_at):
    async with Backend() as backend, replica(redis_at, **HERE) as broker, replica(redis_at, **HERE) as other:
        await make_llm(broker, "m", backend.url)
        answers = await asyncio.gather(*(whole(one) for one in (broker, other, broker)))
        assert {answer[:2] for answer in answers} == {answers[0][:2]} and answers[0][0] == 200
        assert len(backend.seen) == 1


async def test_a_public_llms_refusal_frees_the_key(redis_at):
    async with Backend() as backend, replica(redis_at, **HERE) as broker:
        await make_llm(broker, "m", backend.url)
        assert [(await whole(broker, script={"status": 503}))[0] for _ in range(2)] == [503, 503]
        assert len(backend.seen) == 2


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_an_impossible_key_is_refused(redis_real, key):
    async with replica(redis_real) as broker:
        status, body, _ = await whole(broker, headers={"Idempotency-Key": key})
        assert status == 422 and b"Idempotency-Key" in body


async def test_a_stream_with_a_key_can_be_resumed_as_well(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        first = asked(stream(broker, "m", headers={**KEY, **RESUMABLE}))
        frame = await provider.next()
        await provider.chunk(frame, "a", seq=0)
        await provider.chunk(frame, "[DONE]", done=True, seq=1)
        said = await first
        again = await stream(broker, "m", headers={**KEY, **RESUMABLE})
        assert again.body == said.body and again.headers["X-Stream-Id"] == frame["taskId"]
        assert await rest(broker, frame["taskId"], events(said.body)[0][0]) == events(said.body)[1:]


async def test_a_key_that_redis_lost_the_answer_of_counts_no_more(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        first = asked(whole(broker))
        frame = await provider.next()
        await provider.answer(frame)
        await first
        await redis_at.lose(f"kept:{frame['taskId']}")
        again = asked(whole(broker))
        await provider.answer(await provider.next(), {"n": 2})
        assert (await again)[1] == b'{"n": 2}'


async def test_an_attempt_that_failed_does_not_free_the_key_of_the_one_after_it(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        first = asked(whole(broker))
        frame = await provider.next()
        [key] = [key.decode() for key in await redis_real.keys() if key.startswith(b"idem:")]
        redis = redis_real.redis()
        await redis.set(f"rv:{{{redis_real.namespace}}}:{key}", f"{frame['taskId']}.2 fingerprint", ex=60)
        await redis.aclose()
        await provider.answer(frame, {"error": "x"}, status=500)
        assert (await first)[0] == 500
        assert await redis_real.read(key) == f"{frame['taskId']}.2 fingerprint".encode()
