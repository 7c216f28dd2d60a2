"""Who ends a request before its answer: a client that goes, DELETE. The publisher hears of it within a second,
and the slot stays in use until its last word."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.conversing import calls
from tests.support.library import make_project
from tests.support.messages import completion
from tests.support.provider import Provider
from tests.support.streams import asked, event_of, stream, streaming
from tests.support.tokens import bearer, tokens
from tests.support.tool_servers import ToolProvider
from tests.support.waiting import eventually

SECOND = 1.0


async def leave(client: asyncio.Task) -> None:
    """The client goes away: its connection closes."""
    client.cancel()
    with suppress(asyncio.CancelledError):
        await client


async def test_a_client_that_leaves_cancels_its_request_at_the_publisher(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        await leave(client)
        word = await provider.next("cancel", SECOND)
        assert word["taskId"] == frame["taskId"] and word["reason"] == "client gone"
        assert (await provider.fail(frame, "stopped"))[0] == 200


async def test_a_client_that_leaves_its_stream_cancels_it(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        opening = asked(broker.http.post(broker.url + "/v1/chat/completions", json={"model": "m", "stream": True}))
        frame = await provider.next()
        await provider.chunk(frame, "a")
        response = await opening
        assert await event_of(response) == b"data: a\n\n"
        response.close()
        assert (await provider.next("cancel", SECOND))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")


async def test_a_client_that_leaves_while_comments_keep_it_cancels_it(redis_real):
    async with replica(redis_real, comment_first_seconds=0.05) as broker, Provider(broker, "m") as provider:
        async with streaming(broker, "m") as response:
            frame = await provider.next()
            assert (await event_of(response)).startswith(b":")
        assert (await provider.next("cancel", SECOND))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")


async def test_a_cancelled_request_keeps_its_slot_until_the_publishers_last_word(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        client = asked(broker.chat("m"))
        first = await provider.next()
        waiting = asked(broker.chat("m"))
        await eventually(lambda: redis_at.read("waiting:m"))
        await leave(client)
        await provider.next("cancel", SECOND)
        assert len(await redis_at.read("leases:m")) == 1 and await redis_at.read("waiting:m")
        status, body, _ = await provider.fail(first, "stopped")
        assert status == 200 and body["cancelled"] is True
        second = await provider.next()
        assert second["taskId"] != first["taskId"]
        await provider.answer(second)
        assert (await waiting)[0] == 200


async def test_a_cancelled_task_takes_one_last_word(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        await leave(client)
        await provider.next("cancel", SECOND)
        assert (await provider.chunk(frame, "still going"))[1]["cancelled"] is True
        assert (await provider.answer(frame))[0] == 200
        assert (await provider.answer(frame))[0] == 404


async def test_without_a_last_word_the_slot_is_free_when_the_lease_ends(redis_at):
    settings = {"deadline_seconds": 0.4, "lease_grace_seconds": 0.2}
    async with replica(redis_at, **settings) as broker, Provider(broker, "m", slots=1) as provider:
        client = asked(broker.chat("m"))
        await provider.next()
        await leave(client)
        await provider.next("cancel", SECOND)
        await eventually(lambda: _empty(redis_at, "leases:m"))
        again = asked(broker.chat("m"))
        await provider.answer(await provider.next())
        assert (await again)[0] == 200


async def _empty(place, key: str) -> bool:
    return not await place.read(key)


async def test_a_request_that_leaves_the_line_never_reaches_the_publisher(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m"))
        frame = await provider.next()
        gone = asked(broker.chat("m", number=1))
        await eventually(lambda: redis_at.read("waiting:m"))
        await leave(gone)
        await eventually(lambda: _empty(redis_at, "waiting:m"))
        stays = asked(broker.chat("m", number=2))
        await eventually(lambda: redis_at.read("waiting:m"))
        await provider.answer(frame)
        frame = await provider.next()
        assert frame["request"]["number"] == 2
        await provider.answer(frame)
        await asyncio.gather(first, stays)
        assert provider.frames.empty()


async def test_a_request_cancelled_between_two_channels_never_reaches_the_publisher(redis_at):
    async with replica(redis_at) as broker, replica(redis_at, reconnect_grace_seconds=20) as leaving:
        async with Provider(leaving, "m", slots=1) as provider:
            await leaving.broker.drain(0)
            await provider.next("shutdown")
            await eventually(lambda: _closed(redis_at, provider.session))
            client = asked(broker.chat("m"))
            await eventually(lambda: redis_at.read("leases:m"))
            await leave(client)
            await eventually(lambda: _empty(redis_at, "leases:m"))
            provider.move_to(broker)
            await provider.open()
            again = asked(broker.chat("m", number=2))
            frame = await provider.next()
            assert frame["request"]["number"] == 2
            await provider.answer(frame)
            assert (await again)[0] == 200


async def _closed(place, session: str) -> bool:
    return (await place.read(f"session:{session}"))[b"channel"] == b""


@pytest.mark.parametrize("streams", [False, True])
async def test_delete_ends_a_running_request(redis_at, streams):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as provider:
        client = asked(broker.chat("m", stream=streams))
        frame = await provider.next()
        status, body, _ = await other.call("DELETE", f"/api/v1/requests/{frame['taskId']}")
        assert status == 200 and body["id"] == frame["taskId"]
        status, body, _ = await client
        assert status == 499 and body["error"]["code"] == "request_cancelled"
        assert (await provider.next("cancel", SECOND))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")


async def test_delete_in_the_middle_of_a_stream_is_an_error_event(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "a")
        assert (await broker.call("DELETE", f"/api/v1/requests/{frame['taskId']}"))[0] == 200
        said = await client
        assert said.payloads[0] == b"a" and said.error["code"] == "request_cancelled" and said.error["status"] == 499
        await provider.next("cancel", SECOND)
        await provider.fail(frame, "stopped")


async def test_delete_takes_a_request_out_of_the_line(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        first = asked(broker.chat("m"))
        frame = await provider.next()
        waiting = asked(broker.chat("m"))
        ((task, _),) = await eventually(lambda: redis_at.read("waiting:m"))
        assert (await broker.call("DELETE", f"/api/v1/requests/{task.decode()}"))[0] == 200
        assert (await waiting)[0] == 499
        await provider.answer(frame)
        assert (await first)[0] == 200
        assert provider.frames.empty()


async def test_delete_ends_an_agents_request_at_a_later_answer_of_its_llm_too(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as llm, ToolProvider(broker, "home") as tools:
        await make_project(broker, "house", mcpServers=[{"name": "home", "toolServer": "home"}])
        await make_agent(broker, "bot", "m", project="house")
        client = asked(broker.chat("agent/bot"))
        await tools.answer(await tools.next(), {"tools": []})
        first = await llm.next()
        call = calls(("call_1", "home__weather", "{}"))
        await llm.answer(first, completion("tool_calls", content=None, tool_calls=call))
        second = await llm.next()
        assert second["taskId"] != first["taskId"]
        status, body, _ = await other.call("DELETE", f"/api/v1/requests/{first['taskId']}")
        assert status == 200 and body["id"] == first["taskId"]
        status, body, _ = await client
        assert status == 499 and body["error"]["code"] == "request_cancelled"
        assert (await llm.next("cancel", SECOND))["taskId"] == second["taskId"]
        await llm.fail(second, "stopped")


async def test_delete_of_an_unknown_or_ended_request_is_404(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        assert (await broker.call("DELETE", "/api/v1/requests/req_nobody"))[0] == 404
        client = asked(broker.chat("m"))
        frame = await provider.next()
        await provider.answer(frame)
        await client
        status, body, _ = await broker.call("DELETE", f"/api/v1/requests/{frame['taskId']}")
        assert status == 404 and body["error"]["code"] == "unknown_request"


async def test_only_its_owner_and_an_admin_can_delete_a_request(redis_real):
    async with (
        tokens(redis_real, ann="client+publisher", bob="client", root="admin") as made,
        replica(redis_real) as broker,
        Provider(broker, "m", token=made.ann, slots=2) as provider,
    ):
        for killer in (made.ann, made.root):
            client = asked(broker.chat("m", headers=bearer(made.ann)))
            frame = await provider.next()
            path = f"/api/v1/requests/{frame['taskId']}"
            assert (await broker.call("DELETE", path, headers=bearer(made.bob)))[0] == 404
            assert provider.frames.empty() and not client.done()
            assert (await broker.call("DELETE", path, headers=bearer(killer)))[0] == 200
            assert (await client)[0] == 499
            await provider.next("cancel", SECOND)
            await provider.fail(frame, "stopped")


async def test_a_cancel_reaches_a_publisher_at_another_replica(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(other, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        await leave(client)
        assert (await provider.next("cancel", SECOND))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")
