"""The sweep: order, cascade, what blocks it, and its report.

The background sweep is kept away; each test sweeps by its own hand.
"""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.support import commands
from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.rows import agent, delete_public_agent, events, put_public_agent, put_public_llm
from tests.support.waiting import eventually

#: Rows are stale and due at once; the connectionless publishers of these tests cannot be anything else.
DUE = {"stale_seconds": 0.1, "expire_seconds": 0.1, "sweep_seconds": 1000, "heartbeat_seconds": 0.001}
STALE = {**DUE, "expire_seconds": 1000}
BOTS = [{"name": "bot-1", "llmName": "a"}, {"name": "bot-2", "llmName": "a"}]


async def until_stale(place, session: str) -> None:
    """Until the session's heartbeat has run out; on fakeredis its key goes some milliseconds earlier."""
    last_ms = dict(await place.read("heartbeats"))[session.encode()]

    async def silent() -> bool:
        late = time.time() * 1000 - last_ms > DUE["stale_seconds"] * 1000 + 1
        return late and await place.read(f"alive:{session}") is None

    await eventually(silent)


async def until_due(broker, *names: str) -> None:
    """Until readers do not see these rows any more: then a sweep deletes them."""
    for name in names:
        async def gone(name=name) -> bool:
            return (await broker.call("GET", f"{BASE}/{name}"))[0] == 404

        await eventually(gone)


async def sweep(broker) -> tuple[int, int, list[str]]:
    report = await broker.broker.store.replica.sweep()
    assert set(report) == {"markedInactive", "deleted", "kept"}
    return report["markedInactive"], report["deleted"], report["kept"]


async def test_the_report_sums_agents_and_llms(redis_at):
    async with replica(redis_at, **STALE) as broker, Provider(broker, "a", agents=BOTS, connect=False) as provider:
        await until_stale(redis_at, provider.session)
        assert await sweep(broker) == (3, 0, [])
    async with replica(redis_at, **DUE) as broker, Provider(broker, "a", agents=BOTS, connect=False):
        await until_due(broker, "a")
        assert await sweep(broker) == (3, 3, [])


async def test_a_second_sweep_finds_nothing_to_do(redis_at):
    async with replica(redis_at, **DUE) as broker, Provider(broker, "a", agents=BOTS, connect=False):
        await until_due(broker, "a")
        await sweep(broker)
        assert await sweep(broker) == (0, 0, [])


async def test_agents_go_before_llms(redis_at):
    async with replica(redis_at, **DUE) as broker:
        # Pinned to another LLM, so that no cascade puts them in this order.
        await put_public_llm(redis_at, "gpt")
        await Provider(broker, "a", agents=[{**bot, "llmName": "gpt"} for bot in BOTS]).register()
        await until_due(broker, "a")
        await sweep(broker)
        deleted = [kind for kind, _ in await events(redis_at, "agent.deleted", "llm.deleted")]
        assert deleted == ["agent.deleted", "agent.deleted", "llm.deleted"]


async def test_an_expired_llm_takes_its_virtual_agents_with_it_though_they_live(redis_at):
    async with replica(redis_at, **{**DUE, "stale_seconds": 1.5}) as broker:
        async with Provider(broker, "a", connect=False):
            other = Provider(broker, agents=[{"name": "living", "llmName": "a"}], connect=False)
            assert (await other.register())[0] == 201

            async def gone() -> bool:
                await other.heartbeat()
                return (await broker.call("GET", f"{BASE}/a"))[0] == 404

            await eventually(gone)
            assert (await agent(redis_at, "living"))["status"] == "active"
            assert await sweep(broker) == (1, 2, [])
            assert await agent(redis_at, "living") is None
            assert (await other.heartbeat())[0] == 404


async def test_a_public_agent_blocks_the_delete_and_is_reported(redis_at):
    async with replica(redis_at, **DUE) as broker, Provider(broker, "a", connect=False) as provider:
        await put_public_agent(redis_at, "helpdesk", "a")
        await until_stale(redis_at, provider.session)

        async def kept() -> bool:
            return (await sweep(broker))[1:] == (0, ["a"])

        await eventually(kept)
        assert (await broker.llm("a"))["status"] == "inactive"
        assert (await agent(redis_at, "helpdesk"))["llm"] == "a"


async def test_a_kept_llm_answers_503_and_can_be_registered_again_under_its_id(redis_at):
    async with replica(redis_at, **{**DUE, "stale_seconds": 0.8}) as broker, Provider(broker, "a", connect=False) as provider:
        await put_public_agent(redis_at, "helpdesk", "a")

        async def kept() -> bool:
            return (await sweep(broker))[2] == ["a"]

        await eventually(kept)
        row_id = (await broker.llm("a"))["id"]
        status, body, _ = await broker.chat("a")
        assert status == 503 and body["error"]["code"] == "publisher_offline"
        provider._agents = [{"name": "bot", "llmName": "a"}]
        assert (await provider.register("b"))[0] == 201
        provider._agents = []
        assert (await provider.register("a"))[0] == 201
        row = await broker.llm("a")
        assert row["id"] == row_id and row["status"] == "active"


async def test_a_kept_llm_goes_when_its_public_agent_has_gone(redis_at):
    async with replica(redis_at, **DUE) as broker, Provider(broker, "a", connect=False):
        await put_public_agent(redis_at, "helpdesk", "a")

        async def kept() -> bool:
            return (await sweep(broker))[2] == ["a"]

        async def deleted() -> bool:
            return (await sweep(broker))[1] == 1

        await eventually(kept)
        await delete_public_agent(redis_at, "helpdesk", "a")
        await eventually(deleted)
        assert not await redis_at.read("llm:a")


async def test_two_sweeps_at_once_do_each_thing_once(redis_at):
    async with replica(redis_at, **DUE) as broker, replica(redis_at, **DUE) as other:
        async with Provider(broker, "a", "b", "c", agents=BOTS, connect=False):
            await until_due(broker, "a", "b", "c")
            reports = await asyncio.gather(*(sweep(one) for one in (broker, other, broker, other)))
            assert (sum(report[0] for report in reports), sum(report[1] for report in reports)) == (5, 5)


async def test_a_live_session_is_left_alone(redis_at):
    async with replica(redis_at, **{**DUE, "stale_seconds": 5}) as broker, Provider(broker, "a", agents=BOTS):
        assert await sweep(broker) == (0, 0, [])
        assert (await broker.llm("a"))["status"] == "active"


async def test_more_rows_than_a_slice_go_in_one_sweep(redis_real):
    async with replica(redis_real, **DUE) as broker:
        async with Provider(broker, *(f"a{i}" for i in range(150)), connect=False):
            async with Provider(broker, *(f"b{i}" for i in range(150)), connect=False):
                await until_due(broker, "a149", "b149")
                assert await sweep(broker) == (300, 300, [])


async def test_a_replica_sweeps_by_itself_under_one_lock(redis_at):
    timers = {**DUE, "sweep_seconds": 0.05}
    async with replica(redis_at, **timers) as broker, replica(redis_at, **timers), Provider(broker, "a", connect=False):
        async def swept() -> bool:
            return not await redis_at.read("llm:a")

        await eventually(swept)


@pytest.mark.parametrize("what", ["marked", "deleted", "nothing"])
async def test_sweep_once_as_json_prints_exactly_the_report(redis_real, what):
    timers = {"marked": STALE, "deleted": DUE, "nothing": STALE}[what]
    async with replica(redis_real, **timers) as broker:
        if what != "nothing":
            provider = Provider(broker, "a", agents=BOTS, connect=False)
            await provider.register()
            await until_stale(redis_real, provider.session)
        if what == "deleted":
            await until_due(broker, "a")
    ended = await commands.broker(redis_real, "sweep", "--once", "--json", **timers)
    assert ended.code == 0 and ended.err == ""
    counts = {"marked": (3, 0), "deleted": (3, 3), "nothing": (0, 0)}[what]
    assert ended.out == json.dumps({"markedInactive": counts[0], "deleted": counts[1]}) + "\n"


async def test_sweep_once_reports_what_a_public_agent_keeps_beside_the_json(redis_real):
    async with replica(redis_real, **DUE) as broker:
        provider = Provider(broker, "a", connect=False)
        await provider.register()
        await put_public_agent(redis_real, "helpdesk", "a")
        await until_stale(redis_real, provider.session)

        async def due() -> bool:
            return (await broker.llm("a"))["inactiveSince"] is not None

        await eventually(due)

    async def kept() -> bool:
        ended = await commands.broker(redis_real, "sweep", "--once", "--json", **DUE)
        assert ended.code == 0 and set(json.loads(ended.out)) == {"markedInactive", "deleted"}
        return "'a'" in ended.err

    await eventually(kept, 20)
