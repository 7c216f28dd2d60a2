"""Deleting an LLM row: by name, by id, whose it is, and what stands in the way."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.rows import agent, put_public_agent, put_public_llm
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually


@pytest.mark.parametrize("by", ["name", "id"])
async def test_an_llm_is_deleted_by_name_or_id(redis_at, by):
    async with replica(redis_at) as broker, Provider(broker, "m", "other"):
        key = (await broker.llm("m"))[by]
        status, body, _ = await broker.call("DELETE", f"{BASE}/{key}")
        assert status == 204 and body is None
        assert (await broker.call("GET", f"{BASE}/m"))[0] == 404
        assert [row["name"] for row in (await broker.call("GET", BASE))[1]] == ["other"]
        assert await redis_at.read("llms") == {b"other"} and len(await redis_at.read("llm-ids")) == 1


async def test_a_name_with_a_slash_is_deleted_as_2f(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "meta/llama:8b"):
        assert (await broker.call("DELETE", f"{BASE}/meta%2Fllama:8b"))[0] == 204
        assert (await broker.call("GET", BASE))[1] == []


async def test_a_public_llm_is_deleted_too(redis_at):
    async with replica(redis_at) as broker:
        await put_public_llm(redis_at, "gpt")
        assert (await broker.call("DELETE", f"{BASE}/gpt"))[0] == 204
        assert not await redis_at.read("llm:gpt") and not await redis_at.read("llms")


async def test_deleting_what_is_not_there_is_404(redis_at):
    async with replica(redis_at) as broker:
        status, body, _ = await broker.call("DELETE", f"{BASE}/nothing")
        assert status == 404 and "'nothing'" in body["error"]["message"]


@pytest.mark.parametrize("kind", ["virtual", "public"])
async def test_an_llm_that_agents_are_pinned_to_is_409_naming_them(redis_at, kind):
    bots = [{"name": "zoe", "llmName": "m"}, {"name": "adam", "llmName": "m"}] if kind == "virtual" else []
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bots):
        if kind == "public":
            await put_public_agent(redis_at, "adam", "m")
            await put_public_agent(redis_at, "zoe", "m")
        status, body, _ = await broker.call("DELETE", f"{BASE}/m")
        assert status == 409 and "adam, zoe" in body["error"]["message"]
        assert (await broker.llm("m"))["status"] == "active" and await agent(redis_at, "adam")


async def test_an_expired_agent_that_nobody_sees_does_not_stand_in_the_way(redis_at):
    timers = {"stale_seconds": 0.6, "expire_seconds": 0.1, "sweep_seconds": 1000}
    async with replica(redis_at, **timers) as broker:
        await put_public_llm(redis_at, "gpt")
        assert (await Provider(broker, agents=[{"name": "bot", "llmName": "gpt"}]).register())[0] == 201

        async def unseen() -> bool:
            return (await broker.call("GET", "/api/v1/agents/bot"))[0] == 404

        await eventually(unseen)
        assert (await broker.call("DELETE", f"{BASE}/gpt"))[0] == 204
        assert await agent(redis_at, "bot") is None


async def test_deleting_an_llm_refuses_its_requests(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "other", slots=1) as provider:
        asking = [asyncio.create_task(broker.chat("m")) for _ in range(2)]
        frame = await provider.next()
        await broker.call("DELETE", f"{BASE}/m")
        for one in asking:
            status, body, _ = await asyncio.wait_for(one, 5)
            assert status == 503 and "unpublished" in body["error"]["message"]
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]


async def test_a_deleted_name_can_be_registered_anew(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "n", description="old") as provider:
        row_id = (await broker.llm("m"))["id"]
        await broker.call("DELETE", f"{BASE}/m")
        provider._fields = {}
        assert (await provider.register("m"))[0] == 201
        row = await broker.llm("m")
        assert row["id"] != row_id and row["description"] == ""


async def test_only_its_owner_or_an_admin_deletes_an_llm(redis_at):
    roles = {"alice": "publisher", "bob": "publisher", "client": "client of alice", "root": "admin"}
    async with tokens(redis_at, **roles) as given, replica(redis_at) as broker:
        async with Provider(broker, "m", "n", token=given.alice, connect=False):
            codes = [
                (await broker.call("DELETE", f"{BASE}/{name}", headers=bearer(token)))[0]
                for name, token in [("m", given.bob), ("m", given.client), ("m", given.alice), ("n", given.root)]
            ]
            assert codes == [404, 403, 204, 204]
