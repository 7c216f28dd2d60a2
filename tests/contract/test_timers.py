"""What time does to rows: stale ones turn inactive, inactive ones go, sweep or no sweep.

``UNSWEPT`` keeps the sweep away, so that what is seen is the readers' own doing.
"""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.rows import agent
from tests.support.waiting import eventually

UNSWEPT = {"sweep_seconds": 1000}


def seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


async def gone(broker, name: str) -> bool:
    return (await broker.call("GET", f"{BASE}/{name}"))[0] == 404


@pytest.mark.parametrize("initial", ["active", "hibernating"])
async def test_without_a_heartbeat_the_sweep_turns_a_row_inactive(redis_at, initial):
    async with replica(redis_at, stale_seconds=0.3) as broker, Provider(broker, "m", initialStatus=initial, connect=False):
        async def stored_inactive() -> bool:
            return (await redis_at.read("llm:m"))[b"status"] == b"inactive"

        await eventually(stored_inactive)
        assert (await broker.llm("m"))["status"] == "inactive"


async def test_an_agent_turns_inactive_and_goes_like_an_llm(redis_at):
    bots = [{"name": "bot", "llmName": "m"}]
    timers = {"stale_seconds": 0.5, "expire_seconds": 2.0}
    async with replica(redis_at, **timers) as broker, Provider(broker, "m", agents=bots, connect=False):
        async def bot_inactive() -> bool:
            row = await agent(redis_at, "bot")
            return row is not None and row["status"] == "inactive" and "inactiveSince" in row

        async def bot_gone() -> bool:
            return await agent(redis_at, "bot") is None

        await eventually(bot_inactive)
        await eventually(bot_gone)


async def test_heartbeats_keep_a_row_active_past_the_limit(redis_at):
    async with replica(redis_at, stale_seconds=1.5) as broker, Provider(broker, "m") as provider:
        born = seconds((await broker.llm("m"))["createdAt"])
        while True:
            await provider.heartbeat()
            row = await broker.llm("m")
            assert row["status"] == "active"
            if seconds(row["lastHeartbeatAt"]) - born > 2.0:
                break


async def test_inactive_for_too_long_is_deleted_with_every_trace(redis_at):
    async with replica(redis_at, expire_seconds=0.6) as broker, Provider(broker, "m") as provider:
        await provider.close()
        await broker.until_status("m", "inactive")

        async def nothing_left() -> bool:
            keys = await redis_at.keys()
            return not any(provider.session.encode() in key or key.startswith(b"llm") for key in keys)

        await eventually(nothing_left)
        assert await redis_at.read("expiring:llm") in (None, []) and await redis_at.read("heartbeats") in (None, [])
        assert await gone(broker, "m") and (await provider.heartbeat())[0] == 404


async def test_readers_never_see_a_stale_row_as_active_between_sweeps(redis_at):
    async with replica(redis_at, stale_seconds=0.2, **UNSWEPT) as broker, Provider(broker, "m") as provider:
        row = await broker.until_status("m", "inactive")
        assert (await redis_at.read("llm:m"))[b"status"] == b"active"
        assert (await broker.call("GET", BASE))[1][0]["status"] == "inactive"
        assert (await broker.call("GET", "/v1/models/m"))[1]["status"] == "inactive"
        assert (await broker.call("GET", "/v1/models"))[1]["data"][0]["status"] == "inactive"
        assert b'broker_llms{status="inactive"} 1.0' in (await broker.call("GET", "/metrics"))[1]
        assert row["providerSessionId"] == provider.session


async def test_a_stale_row_answers_503_before_any_sweep(redis_at):
    async with replica(redis_at, stale_seconds=0.2, **UNSWEPT) as broker, Provider(broker, "m"):
        await broker.until_status("m", "inactive")
        status, body, _ = await broker.chat("m")
        assert status == 503 and body["error"]["code"] == "publisher_offline"


async def test_readers_never_see_an_expired_row_between_sweeps(redis_at):
    async with replica(redis_at, stale_seconds=0.8, expire_seconds=0.2, **UNSWEPT) as broker, Provider(broker, "m", connect=False):
        row_id = (await broker.llm("m"))["id"]
        await eventually(lambda: gone(broker, "m"))
        assert await redis_at.read("llm:m")
        assert await gone(broker, row_id) and (await broker.call("GET", BASE))[1] == []
        assert (await broker.call("GET", "/v1/models"))[1]["data"] == []
        assert (await broker.chat("m"))[0] == 404


async def test_an_expired_rows_name_is_free_before_any_sweep(redis_at):
    timers = {"stale_seconds": 0.8, "expire_seconds": 0.2, **UNSWEPT}
    async with replica(redis_at, **timers) as broker, Provider(broker, "m", description="old", connect=False) as first:
        row_id = (await broker.llm("m"))["id"]
        await eventually(lambda: gone(broker, "m"))
        async with Provider(broker, "m", connect=False) as second:
            row = await broker.llm("m")
            assert row["id"] != row_id and row["description"] == "" and row["providerSessionId"] == second.session
            assert (await first.heartbeat())[0] == 404
            assert await gone(broker, row_id)


async def test_an_expired_row_does_not_come_back_by_a_heartbeat(redis_at):
    timers = {"stale_seconds": 0.2, "expire_seconds": 0.2, **UNSWEPT}
    async with replica(redis_at, **timers) as broker, Provider(broker, "m", connect=False) as provider:
        await eventually(lambda: gone(broker, "m"))
        assert (await provider.heartbeat())[0] == 404
        assert await gone(broker, "m")


async def test_a_stale_row_can_be_adopted_before_any_sweep(redis_at):
    async with replica(redis_at, stale_seconds=0.8, **UNSWEPT) as broker, Provider(broker, "m", connect=False):
        row_id = (await broker.until_status("m", "inactive"))["id"]
        async with Provider(broker, "m", connect=False) as second:
            row = await broker.llm("m")
            assert row["id"] == row_id and row["providerSessionId"] == second.session and row["status"] == "active"


async def test_inactive_since_is_set_once(redis_at):
    async with replica(redis_at, stale_seconds=0.2, **UNSWEPT) as broker, Provider(broker, "m", connect=False):
        unswept = await broker.until_status("m", "inactive")
        assert (await broker.broker.store.replica.sweep())["markedInactive"] == 1
        swept = await broker.llm("m")
        assert (await broker.broker.store.replica.sweep())["markedInactive"] == 0
        assert unswept["inactiveSince"] == swept["inactiveSince"] == (await broker.llm("m"))["inactiveSince"]


async def test_inactive_since_is_the_end_of_the_last_heartbeats_time(redis_at):
    async with replica(redis_at, stale_seconds=0.25) as broker, Provider(broker, "m", connect=False):
        row = await broker.until_status("m", "inactive")
        assert seconds(row["inactiveSince"]) - seconds(row["lastHeartbeatAt"]) == pytest.approx(0.25, abs=0.002)


async def test_a_stale_row_that_beats_again_is_active_at_once(redis_at):
    async with replica(redis_at, stale_seconds=0.2) as broker, Provider(broker, "m") as provider:
        await broker.until_status("m", "inactive")
        await provider.heartbeat()
        assert (await broker.llm("m"))["inactiveSince"] is None


async def test_a_publisher_that_falls_silent_loses_its_running_tasks(redis_at):
    async with replica(redis_at, stale_seconds=0.3) as broker, Provider(broker, "m"):
        status, body, _ = await broker.chat("m")
        assert status == 503 and body["error"]["code"] == "publisher_offline"
