"""Virtual agents register, come back, get adopted, are refused and expire by the LLMs' rules."""

from __future__ import annotations

from tests.support.agents import AGENTS, make_agent, shown
from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.rows import agent, put_public_agent, put_public_llm
from tests.support.tokens import tokens
from tests.support.waiting import eventually


def bot(llm: str = "m", **fields) -> list[dict]:
    return [{"name": "bot", "llmName": llm, **fields}]


async def until_inactive(place) -> dict:
    async def inactive():
        row = await agent(place, "bot")
        return row if row and row["status"] == "inactive" else None

    return await eventually(inactive)


async def test_a_new_agent_is_inserted_as_virtual_and_answered(redis_at):
    fields = {"description": "d", "systemPrompt": "be kind", "defaultParams": {"top_p": 1}, "extras": {"tools": ["a"]}}
    async with replica(redis_at) as broker:
        provider = Provider(broker, "m", agents=bot(**fields), connect=False)
        status, body, _ = await provider.register()
        assert status == 201 and len(body["agents"]) == 1
        row = body["agents"][0]
        assert {key: row[key] for key in fields} == fields
        assert row["kind"] == "virtual" and row["status"] == "active" and row["llm"]["name"] == "m"
        assert row["project"] is None and row["version"] == 1 and row["inactiveSince"] is None
        assert row["lastHeartbeatAt"] and row["ownerId"] == "local"


async def test_an_agent_registers_active_though_its_llm_sleeps(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bot(), initialStatus="hibernating", connect=False):
        assert (await agent(redis_at, "bot"))["status"] == "active"


async def test_an_agent_may_pin_any_llm_that_exists(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "theirs"):
        await put_public_llm(redis_at, "gpt")
        agents = bot("theirs") + [{"name": "bot-2", "llmName": "gpt"}]
        assert (await Provider(broker, agents=agents).register())[0] == 201
        assert await redis_at.read("llm-agents:theirs") == {b"bot"} and await redis_at.read("llm-agents:gpt") == {b"bot-2"}


async def test_a_missing_llm_is_404_naming_it_and_nothing_is_registered(redis_at):
    async with replica(redis_at) as broker:
        status, body, _ = await Provider(broker, "m", agents=bot("nowhere")).register()
        assert status == 404 and "'nowhere'" in body["error"]["message"] and "'bot'" in body["error"]["message"]
        assert await agent(redis_at, "bot") is None and (await broker.call("GET", f"{BASE}/m"))[0] == 404


async def test_an_agent_of_the_same_session_is_updated_in_place(redis_at):
    fields = {"description": "d", "systemPrompt": "s", "defaultParams": {"a": 1}, "extras": {"b": 2}}
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bot(**fields)) as provider:
        before = await agent(redis_at, "bot")
        provider._agents = bot(description="new")
        _, body, _ = await provider.register()
        row = body["agents"][0]
        assert row["id"] == before["id"] and row["description"] == "new"
        assert (row["systemPrompt"], row["defaultParams"], row["extras"]) == ("s", {"a": 1}, {"b": 2})


async def test_a_project_that_is_left_out_is_cleared(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bot(project="p")) as provider:
        assert (await agent(redis_at, "bot"))["project"] == "p"
        provider._agents = bot()
        assert (await provider.register())[1]["agents"][0]["project"] is None


async def test_an_agent_can_be_pinned_to_another_llm(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "n", agents=bot("m")) as provider:
        provider._agents = bot("n")
        assert (await provider.register())[1]["agents"][0]["llm"]["name"] == "n"
        assert not await redis_at.read("llm-agents:m") and await redis_at.read("llm-agents:n") == {b"bot"}


async def test_an_inactive_agent_is_adopted_under_its_id(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bot(description="kept")) as first:
        before = await agent(redis_at, "bot")
        await first.close()
        await until_inactive(redis_at)
        second = Provider(broker, "n", agents=bot("n"))
        status, body, _ = await second.register()
        row = body["agents"][0]
        assert status == 201 and row["id"] == before["id"] and row["status"] == "active" and row["description"] == "kept"
        assert (await agent(redis_at, "bot"))["session"] == second.session


async def test_an_adopted_agent_keeps_its_owner(redis_at):
    async with tokens(redis_at, alice="publisher", bob="publisher") as given, replica(redis_at, adoption="any") as broker:
        async with Provider(broker, "m", agents=bot(), token=given.alice) as first:
            await first.close()
            await until_inactive(redis_at)
            status, body, _ = await Provider(broker, "n", agents=bot("n"), token=given.bob).register()
            assert status == 201 and body["agents"][0]["ownerId"] == "alice"


async def test_another_owners_inactive_agent_is_not_adopted(redis_at):
    async with tokens(redis_at, alice="publisher", bob="publisher") as given, replica(redis_at) as broker:
        async with Provider(broker, "m", agents=bot(), token=given.alice) as first:
            await first.close()
            await until_inactive(redis_at)
            status, body, _ = await Provider(broker, "n", agents=bot("n"), token=given.bob).register()
            assert status == 409 and "agent 'bot'" in body["error"]["message"]


async def test_an_agent_that_another_live_session_holds_is_refused_and_so_are_its_llms(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bot()):
        status, body, _ = await Provider(broker, "n", agents=bot("n")).register()
        assert status == 409 and "agent 'bot'" in body["error"]["message"]
        assert (await broker.call("GET", f"{BASE}/n"))[0] == 404


async def test_a_public_agents_name_is_refused(redis_at):
    async with replica(redis_at) as broker:
        await put_public_llm(redis_at, "gpt")
        await put_public_agent(redis_at, "bot", "gpt")
        status, body, _ = await Provider(broker, "n", agents=bot("n")).register()
        assert status == 409 and "agent 'bot'" in body["error"]["message"]


async def test_an_agent_outlives_its_disconnect_and_comes_back_active(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bot()) as provider:
        before = await agent(redis_at, "bot")
        await provider.close()
        assert (await until_inactive(redis_at))["inactiveSince"]
        await provider.heartbeat()
        row = await agent(redis_at, "bot")
        assert row["status"] == "active" and row["id"] == before["id"] and "inactiveSince" not in row


async def test_an_agent_is_inactive_at_once_when_its_publishers_channel_closes(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bot(), connect=False) as provider:
        for leave in (provider.close, lambda: provider.post("/_provider-goodbye", {"providerSessionId": provider.session})):
            await provider.open()
            assert (await shown(broker, "bot"))["status"] == "active"
            await leave()
            await until_inactive(redis_at)
            row = await shown(broker, "bot")
            assert row["status"] == "inactive" and row["inactiveSince"] and row["version"] == 1


async def test_an_agent_without_a_heartbeat_turns_inactive_and_then_goes_though_no_sweep_comes_by(redis_at):
    timers = {"stale_seconds": 0.3, "expire_seconds": 1.5, "sweep_seconds": 1000}
    async with replica(redis_at, **timers) as broker:
        await put_public_llm(redis_at, "gpt")
        provider = Provider(broker, agents=bot("gpt"), connect=False)
        await provider.register()
        rows = []

        async def gone() -> bool:
            rows.append(await shown(broker, "bot"))
            return rows[-1] is None

        await eventually(gone)
        seen = [row["status"] for row in rows if row]
        assert seen[0] == "active" and seen[-1] == "inactive" and seen == sorted(seen)
        assert len({row["inactiveSince"] for row in rows if row and row["status"] == "inactive"}) == 1
        assert (await broker.call("GET", AGENTS))[1] == [] and (await broker.llm("gpt"))["status"] == "active"


async def test_one_heartbeat_covers_agents_and_llms(redis_at):
    async with replica(redis_at, stale_seconds=1.5) as broker, Provider(broker, "m", agents=bot(), connect=False) as provider:
        before = (await shown(broker, "bot"))["lastHeartbeatAt"]

        async def later() -> bool:
            await provider.heartbeat()
            row = await shown(broker, "bot")
            assert row["status"] == "active" and (await broker.llm("m"))["lastHeartbeatAt"] >= row["lastHeartbeatAt"]
            return row["lastHeartbeatAt"] > before

        await eventually(later)


async def test_a_public_agent_made_over_http_keeps_an_expired_llm_until_it_goes(redis_at):
    timers = {"stale_seconds": 0.6, "expire_seconds": 0.2, "sweep_seconds": 1000, "heartbeat_seconds": 0.001}
    async with replica(redis_at, **timers) as broker, Provider(broker, "m", connect=False):
        row = await make_agent(broker, "helpdesk", "m")

        async def swept() -> dict:
            return await broker.broker.store.replica.sweep()

        async def kept() -> bool:
            return (await swept())["kept"] == ["m"]

        async def deleted() -> bool:
            return (await swept())["deleted"] == 1

        await eventually(kept)
        assert await shown(broker, "helpdesk") == row and (await broker.llm("m"))["status"] == "inactive"
        assert (await broker.call("DELETE", f"{AGENTS}/helpdesk"))[0] == 204
        await eventually(deleted)


async def test_a_living_agent_is_whole_after_its_expired_llm_was_registered_anew(redis_at):
    timers = {"stale_seconds": 1.5, "expire_seconds": 0.1, "sweep_seconds": 1000}
    async with replica(redis_at, **timers) as broker, Provider(broker, "m", connect=False):
        second = Provider(broker, agents=bot("m", description="d"), connect=False)
        assert (await second.register())[0] == 201

        async def llm_gone() -> bool:
            await second.heartbeat()
            return (await broker.call("GET", f"{BASE}/m"))[0] == 404

        await eventually(llm_gone)
        status, body, _ = await second.register("m")
        assert status == 201, body
        row = body["agents"][0]
        assert row["name"] == "bot" and row["kind"] == "virtual" and row["llm"]["name"] == "m"
        assert await redis_at.read("agents") == {b"bot"}
        assert (await redis_at.read("agent-ids")) == {row["id"].encode(): b"bot"}


async def test_the_indexes_are_equal_to_the_rows(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "n", agents=bot()) as provider:
        row, bots = await broker.llm("m"), await agent(redis_at, "bot")
        assert await redis_at.read("llms") == {b"m", b"n"} and await redis_at.read("agents") == {b"bot"}
        assert (await redis_at.read("llm-ids"))[row["id"].encode()] == b"m"
        assert (await redis_at.read("agent-ids")) == {bots["id"].encode(): b"bot"}
        assert await redis_at.read(f"session-rows:{provider.session}") == {b"llm:m", b"llm:n", b"agent:bot"}
