"""Heartbeats: what they cover, what they bring back, and who must register again."""

from __future__ import annotations

import pytest

from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.rows import agent

BOTS = [{"name": "bot", "llmName": "a"}]


async def test_a_heartbeat_covers_every_llm_and_agent_of_the_session(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", agents=BOTS) as provider:
        await provider.close()
        for name in ("a", "b"):
            await broker.until_status(name, "inactive")
        assert (await provider.heartbeat())[0] == 200
        rows = [await broker.llm("a"), await broker.llm("b"), await agent(redis_at, "bot")]
        assert [row["status"] for row in rows] == ["active"] * 3


async def test_a_heartbeat_moves_the_last_heartbeat_of_every_row(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b") as provider:
        before = [(await broker.llm(name))["lastHeartbeatAt"] for name in ("a", "b")]
        while (await broker.llm("a"))["lastHeartbeatAt"] == before[0]:
            assert (await provider.heartbeat())[0] == 200
        assert (await broker.llm("b"))["lastHeartbeatAt"] > before[1]


@pytest.mark.parametrize("before", ["active", "hibernating"])
async def test_a_row_comes_back_as_what_it_was_before(redis_at, before):
    async with replica(redis_at) as broker, Provider(broker, "m", initialStatus=before) as provider:
        await provider.close()
        await broker.until_status("m", "inactive")
        await provider.heartbeat()
        row = await broker.llm("m")
        assert row["status"] == before and row["inactiveSince"] is None


async def test_a_revived_row_without_a_channel_answers_503(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0) as broker, Provider(broker, "m") as provider:
        await provider.close()
        await broker.until_status("m", "inactive")
        await provider.heartbeat()
        row = await broker.llm("m")
        assert row["status"] == "active" and row["channel"] is False
        status, body, _ = await broker.chat("m")
        assert status == 503 and body["error"]["code"] == "publisher_offline"


async def test_a_row_that_never_had_a_channel_answers_503(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", connect=False):
        assert (await broker.chat("m"))[0] == 503


async def test_opening_the_channel_counts_as_a_heartbeat(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=[{"name": "bot", "llmName": "m"}]) as provider:
        await provider.close()
        since = (await broker.until_status("m", "inactive"))["lastHeartbeatAt"]
        await provider.open()
        row = await broker.llm("m")
        assert row["status"] == "active" and row["channel"] is True and row["lastHeartbeatAt"] > since
        assert (await agent(redis_at, "bot"))["status"] == "active"


async def test_a_heartbeat_of_an_unknown_session_is_404_register_again(redis_at):
    async with replica(redis_at) as broker:
        status, body, _ = await Provider(broker, session="never-registered").heartbeat()
        assert status == 404 and body["error"]["code"] == "unknown_session" and "register" in body["error"]["message"]


async def test_the_session_may_be_named_in_the_header_alone(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        for body in (b"", b"{}"):
            status, _, _ = await broker.call(
                "POST", f"{BASE}/_provider-heartbeat", body, headers={"X-Provider-Session": provider.session}
            )
            assert status == 200


async def test_a_call_that_names_no_session_is_told_how(redis_real):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("POST", f"{BASE}/_provider-heartbeat", {})
        assert status == 400 and "X-Provider-Session" in body["error"]["message"]


async def test_a_late_heartbeat_does_not_undo_a_goodbye(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await provider.post("/_provider-goodbye")
        assert (await provider.heartbeat())[0] == 200
        assert (await broker.llm("m"))["status"] == "inactive"


async def test_a_status_told_while_inactive_is_what_the_row_comes_back_as(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await provider.close()
        await broker.until_status("m", "inactive")
        asleep = {"providerSessionId": provider.session, "llmName": "m", "status": "hibernating"}
        assert (await provider.post("/_provider-status", asleep))[0] == 200
        assert (await broker.llm("m"))["status"] == "inactive"
        await provider.heartbeat()
        assert (await broker.llm("m"))["status"] == "hibernating"
