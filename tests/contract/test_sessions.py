"""A session belongs to its owner: to any other it does not exist."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.tokens import bearer, tokens

CALLS = {
    "register": ("POST", "/_provider-register", {"providers": [{"name": "new", "type": "openai"}], "providerSessionId": "{sid}"}),
    "heartbeat": ("POST", "/_provider-heartbeat", {"providerSessionId": "{sid}"}),
    "status": ("POST", "/_provider-status", {"providerSessionId": "{sid}", "llmName": "m", "status": "hibernating"}),
    "goodbye": ("POST", "/_provider-goodbye", {"providerSessionId": "{sid}"}),
    "stream": ("GET", "/_provider-stream", None),
    "results": ("POST", "/_provider-results", {"taskId": "{task}", "status": 200, "body": {}}),
    "request": ("GET", "/_provider-task/{task}/request", None),
    "accept": ("POST", "/_provider-task/{task}/accept", {"providerSessionId": "{sid}"}),
    "result": ("POST", "/_provider-task/{task}/result", {"providerSessionId": "{sid}", "status": 200, "body": {}}),
}


@pytest.mark.parametrize("call", CALLS)
async def test_anothers_session_does_not_exist_on_any_publisher_call(redis_at, call):
    method, path, body = CALLS[call]
    async with tokens(redis_at, alice="publisher+client", bob="publisher") as given, replica(redis_at, inline_request_bytes=10) as broker:
        async with Provider(broker, "m", token=given.alice) as provider:
            asking = asyncio.create_task(broker.chat("m", headers=bearer(given.alice)))
            frame = await provider.next()
            before = await redis_at.read("llm:m")

            def filled(text):
                return text.replace("{sid}", provider.session).replace("{task}", frame["taskId"])

            status, answer, _ = await broker.call(
                method, BASE + filled(path),
                {key: filled(value) if isinstance(value, str) else value for key, value in body.items()} if body else None,
                headers={"X-Provider-Session": provider.session, **bearer(given.bob)},
            )
            assert status == 404 and answer["error"]["code"] in ("unknown_session", "unknown_task"), answer
            assert await redis_at.read("llm:m") == before and not await redis_at.read("llm:new")
            assert not provider.closed.is_set()
            assert (await provider.answer(frame))[0] == 200
            assert (await asking)[0] == 200


async def test_a_rotated_token_of_the_same_owner_loses_nothing(redis_at):
    async with tokens(redis_at, old="publisher of alice", new="publisher+client of alice") as given, replica(redis_at) as broker:
        async with Provider(broker, "m", token=given.old) as provider:
            asking = asyncio.create_task(broker.chat("m", headers=bearer(given.new)))
            frame = await provider.next()
            provider._token = given.new
            assert (await provider.heartbeat())[0] == 200
            assert (await provider.answer(frame))[0] == 200 and (await asking)[0] == 200


async def test_a_session_lives_until_its_last_row_goes(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b") as provider:
        await broker.call("DELETE", f"{BASE}/a")
        assert (await provider.heartbeat())[0] == 200
        await broker.call("DELETE", f"{BASE}/b")
        assert (await provider.heartbeat())[0] == 404
        async with asyncio.timeout(20):
            await provider.closed.wait()
        assert not [key for key in await redis_at.keys() if provider.session.encode() in key]


async def test_a_channel_of_an_unknown_session_is_404(redis_real):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("GET", f"{BASE}/_provider-stream", headers={"X-Provider-Session": "nobody-knows-me"})
        assert status == 404 and body["error"]["code"] == "unknown_session"


async def test_a_status_of_an_llm_that_is_not_the_sessions_is_404(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "mine") as provider, Provider(broker, "theirs"):
        body = {"providerSessionId": provider.session, "llmName": "theirs", "status": "hibernating"}
        assert (await provider.post("/_provider-status", body))[0] == 404
        assert (await broker.llm("theirs"))["status"] == "active"
