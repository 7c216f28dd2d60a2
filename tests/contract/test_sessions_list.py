"""``/api/v1/sessions``: publishers as readers must see them, each owner its own."""

from __future__ import annotations

from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

SESSIONS = "/api/v1/sessions"


async def listed(broker, **headers) -> list[dict]:
    status, rows, _ = await broker.call("GET", SESSIONS, **headers)
    assert status == 200, rows
    return rows


async def test_a_session_is_shown_with_its_rows(redis_at):
    agents = [{"name": "bot", "llmName": "m"}]
    async with replica(redis_at) as broker:
        assert await listed(broker) == []
        async with Provider(broker, "n", "m", agents=agents, instance="run-1") as provider:
            (row,) = await listed(broker)
            assert row["createdAt"] <= row["lastHeartbeatAt"]
            assert {name: row[name] for name in row if not name.endswith("At")} == {
                "id": provider.session, "owner": "local", "instance": "run-1", "channel": True, "status": "active",
                "llms": ["m", "n"], "agents": ["bot"], "toolServers": [],
            }
            status, one, _ = await broker.call("GET", f"{SESSIONS}/{provider.session}")
            assert status == 200 and one == row


async def test_a_session_without_a_channel_is_active_and_one_that_left_is_inactive(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0) as broker, Provider(broker, "m", connect=False) as provider:
        (row,) = await listed(broker)
        assert (row["status"], row["channel"], row["instance"]) == ("active", False, None)
        for leave in (provider.close, lambda: provider.post("/_provider-goodbye", {"providerSessionId": provider.session})):
            await provider.open()
            assert [(row["status"], row["channel"]) for row in await listed(broker)] == [("active", True)]
            await leave()

            async def left() -> bool:
                return [row["status"] for row in await listed(broker)] == ["inactive"]

            await eventually(left)


async def test_without_heartbeats_it_turns_inactive_and_then_goes_though_no_sweep_comes_by(redis_at):
    timers = {"stale_seconds": 0.3, "expire_seconds": 1.5, "sweep_seconds": 1000}
    async with replica(redis_at, **timers) as broker:
        await Provider(broker, "m", connect=False).register()
        seen = []

        async def gone() -> bool:
            rows = await listed(broker)
            seen.extend(row["status"] for row in rows)
            return not rows

        await eventually(gone)
        assert seen[0] == "active" and seen[-1] == "inactive" and seen == sorted(seen)


async def test_it_goes_with_its_last_row(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", connect=False) as provider:
        assert (await broker.call("DELETE", f"{BASE}/m"))[0] == 204
        assert await listed(broker) == [] and not await redis_at.read("sessions")
        status, body, _ = await broker.call("GET", f"{SESSIONS}/{provider.session}")
        assert status == 404 and body["error"]["code"] == "unknown_session" and provider.session in body["error"]["message"]


async def test_each_owner_sees_its_own_and_an_admin_all(redis_at):
    roles = {"root": "admin", "pub": "publisher of ann", "app": "client of ann", "bob": "publisher"}
    async with tokens(redis_at, **roles) as given, replica(redis_at) as broker:
        async with Provider(broker, "m", token=given.pub) as anns, Provider(broker, "n", token=given.bob) as bobs:
            sees = {"root": {anns.session, bobs.session}, "pub": {anns.session}, "app": {anns.session}, "bob": {bobs.session}}
            for name, sessions in sees.items():
                headers = bearer(getattr(given, name))
                assert {row["id"] for row in await listed(broker, headers=headers)} == sessions
                status = (await broker.call("GET", f"{SESSIONS}/{bobs.session}", headers=headers))[0]
                assert status == (200 if bobs.session in sessions else 404)
            assert (await broker.call("GET", SESSIONS))[0] == 401
