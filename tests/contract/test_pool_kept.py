"""Kept replies to requests to pools: another member takes over, and what is kept is what was answered."""

from __future__ import annotations

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked


async def test_a_call_with_a_key_that_fails_over_is_answered_once_and_replayed(redis_at):
    key = {"Idempotency-Key": "k"}
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = asked(broker.chat("q", headers=key))
        await provider.answer(await provider.next(), {"error": 1}, status=500)
        await provider.answer(await provider.next(), {"n": 1})
        assert (await task)[:2] == (200, {"n": 1})
        status, body, headers = await broker.chat("q", headers=key)
        assert (status, body, headers["Idempotency-Replayed"]) == (200, {"n": 1}, "true") and provider.frames.empty()


@pytest.mark.parametrize("what", ["error", "500"])
async def test_a_resumable_stream_fails_over_and_is_resumed_by_the_name_that_it_was_given(redis_at, what):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="q") as provider:
        task = asked(broker.call("POST", "/v1/chat/completions", {"model": "q", "messages": [], "stream": True}, headers={"X-Resumable": "true"}))
        await (provider.fail(await provider.next(), "broken") if what == "error" else provider.answer(await provider.next(), status=500))
        frame = await provider.next()
        await provider.chunk(frame, "{}")
        await provider.chunk(frame, "[DONE]", done=True)
        status, body, headers = await task
        assert status == 200 and headers["X-Served-By"] == "b" and body.count(b"id: ") == 2
        status, again, _ = await broker.call("GET", f"/api/v1/streams/{headers['X-Stream-Id']}")
        assert status == 200 and again == body
