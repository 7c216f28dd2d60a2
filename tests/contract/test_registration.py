"""The contract's chapter on LLM rows and their registration, over HTTP."""

from __future__ import annotations

import asyncio
from datetime import datetime
from urllib.parse import quote

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.rows import agent, put_public_agent, put_public_llm
from tests.support.tokens import tokens
from tests.support.waiting import eventually

GIVEN = {
    "id", "name", "kind", "type", "model", "url", "tier", "description", "apiKeyRef", "extraConfig", "providerSessionId",
    "status", "lastHeartbeatAt", "inactiveSince", "version", "createdAt", "updatedAt",
}
LLMS = "/api/v1/llms"


async def test_a_new_name_is_inserted_as_virtual_and_owned_by_the_session(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "qwen", model="qwen3", slots=2) as provider:
        row = await broker.llm("qwen")
        assert row["kind"] == "virtual" and row["status"] == "active" and row["channel"] is True
        assert row["model"] == "qwen3" and row["slots"] == 2 and row["url"] == "" and row["apiKeyRef"] is None
        assert row["tier"] == "fast" and row["description"] == "" and row["extraConfig"] == {}
        assert row["providerSessionId"] == provider.session and row["version"] == 1
        assert row["lastHeartbeatAt"].endswith("Z") and row["inactiveSince"] is None


async def test_a_row_has_the_contracts_fields_and_iso_times_in_utc(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        row = await broker.llm("m")
        assert set(row) == GIVEN | {"slots", "channel", "aliases"}
        for field in ("createdAt", "updatedAt", "lastHeartbeatAt"):
            assert datetime.fromisoformat(row[field]).utcoffset().total_seconds() == 0


async def test_a_public_row_reads_active_with_no_heartbeat(redis_at):
    async with replica(redis_at) as broker:
        await put_public_llm(redis_at, "gpt", url="https://api.example/v1", apiKeyRef="secret:gpt")
        row = await broker.llm("gpt")
        assert row["kind"] == "public" and row["status"] == "active" and row["lastHeartbeatAt"] is None
        assert row["url"] == "https://api.example/v1" and row["apiKeyRef"] == "secret:gpt"


async def test_the_list_of_llms_is_a_json_array_of_rows(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "b", "a"):
        status, rows, _ = await broker.call("GET", LLMS)
        assert status == 200 and isinstance(rows, list)
        assert [row["name"] for row in rows] == ["a", "b"] and set(rows[0]) == GIVEN | {"slots", "channel", "aliases"}


async def test_a_row_is_read_by_its_id_too(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        row = await broker.llm("m")
        assert await broker.llm(row["id"]) == row


async def test_initial_status_hibernating_registers_a_sleeper(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", initialStatus="hibernating", connect=False):
        assert (await broker.llm("m"))["status"] == "hibernating"


@pytest.mark.parametrize("value", ["inactive", "sleeping", "", "Hibernating", None, 5, {}])
async def test_any_other_initial_status_counts_as_active(redis_real, value):
    async with replica(redis_real) as broker, Provider(broker, "m", initialStatus=value, connect=False):
        assert (await broker.llm("m"))["status"] == "active"


async def test_a_name_of_the_same_session_is_updated_in_place(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", model="one") as provider:
        before = await broker.llm("m")
        provider._fields = {"model": "two", "tier": "heavy", "description": "now", "extraConfig": {"a": [1]}, "slots": 3}
        status, body, _ = await provider.register()
        after = await broker.llm("m")
        assert status == 201 and body["llms"] == [after]
        assert after["id"] == before["id"] and after["createdAt"] == before["createdAt"]
        assert (after["model"], after["tier"], after["description"]) == ("two", "heavy", "now")
        assert after["extraConfig"] == {"a": [1]} and after["slots"] == 3


async def test_registering_again_reactivates_an_inactive_row_under_its_id(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        before = await broker.llm("m")
        await provider.close()
        await broker.until_status("m", "inactive")
        assert (await provider.register())[0] == 201
        after = await broker.llm("m")
        assert after["status"] == "active" and after["inactiveSince"] is None and after["id"] == before["id"]


async def test_an_optional_field_that_is_left_out_keeps_its_value(redis_at):
    fields = {"type": "ollama", "model": "x", "tier": "heavy", "description": "d", "extraConfig": {"k": "v"}, "slots": 4}
    async with replica(redis_at) as broker, Provider(broker, "m", connect=False, **fields) as provider:
        before = await broker.llm("m")
        status, _, _ = await provider.post("/_provider-register", {"providerSessionId": provider.session, "providers": [{"name": "m"}]})
        after = await broker.llm("m")
        assert status == 201
        assert {key: after[key] for key in fields} == fields == {key: before[key] for key in fields}


async def test_model_is_the_name_when_it_was_never_given(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", connect=False):
        assert (await broker.llm("m"))["model"] == "m"


async def test_an_inactive_name_of_another_session_is_adopted_under_its_id(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "other", description="kept") as first:
        before = await broker.llm("m")
        await first.close()
        await broker.until_status("m", "inactive")
        async with Provider(broker, "m") as second:
            after = await broker.llm("m")
            assert second.session != first.session == before["providerSessionId"]
            assert after["id"] == before["id"] and after["providerSessionId"] == second.session
            assert after["status"] == "active" and after["description"] == "kept"


async def test_an_adopted_row_is_no_longer_its_old_sessions(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "other") as first:
        await first.close()
        await broker.until_status("m", "inactive")
        async with Provider(broker, "m") as second:
            assert (await first.heartbeat())[0] == 200
            assert (await broker.llm("m"))["providerSessionId"] == second.session
            status, body, _ = await first.register("m")
            assert status == 409 and "m" in body["error"]["message"]


async def test_a_session_whose_last_row_was_adopted_is_no_more(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as first:
        await first.close()
        await broker.until_status("m", "inactive")
        async with Provider(broker, "m", connect=False):
            assert (await first.heartbeat())[0] == 404
            assert not [key for key in await redis_at.keys() if first.session.encode() in key]


async def test_another_owners_inactive_name_is_not_adopted(redis_at):
    async with tokens(redis_at, alice="publisher", bob="publisher") as given, replica(redis_at) as broker:
        async with Provider(broker, "m", token=given.alice) as first:
            await first.close()
            await _until_inactive(redis_at, "m")
            second = Provider(broker, "m", token=given.bob)
            status, body, _ = await second.register()
            assert status == 409 and "'m'" in body["error"]["message"] and body["error"]["param"] == "m"
            assert (await redis_at.read("llm:m"))[b"session"].decode() == first.session


async def test_adoption_any_restores_the_given_rule(redis_at):
    async with tokens(redis_at, alice="publisher", bob="publisher") as given, replica(redis_at, adoption="any") as broker:
        async with Provider(broker, "m", token=given.alice) as first:
            row_id = (await redis_at.read("llm:m"))[b"id"]
            await first.close()
            await _until_inactive(redis_at, "m")
            async with Provider(broker, "m", token=given.bob) as second:
                row = await redis_at.read("llm:m")
                assert row[b"id"] == row_id and row[b"session"].decode() == second.session


async def test_a_public_name_is_refused(redis_at):
    async with replica(redis_at) as broker:
        await put_public_llm(redis_at, "gpt")
        status, body, _ = await Provider(broker, "gpt").register()
        assert status == 409 and "'gpt'" in body["error"]["message"]
        assert (await broker.llm("gpt"))["kind"] == "public"


@pytest.mark.parametrize("initial", ["active", "hibernating"])
async def test_a_name_that_another_live_session_holds_is_refused(redis_at, initial):
    async with replica(redis_at) as broker, Provider(broker, "m", initialStatus=initial) as holder:
        status, body, _ = await Provider(broker, "m").register()
        assert status == 409 and "'m'" in body["error"]["message"]
        assert (await broker.llm("m"))["providerSessionId"] == holder.session


async def test_the_broker_makes_a_session_for_a_publisher_without_one(redis_at):
    async with replica(redis_at, heartbeat_seconds=7) as broker:
        status, body, _ = await broker.call("POST", f"{LLMS}/_provider-register", {"providers": [{"name": "m", "type": "openai"}]})
        assert status == 201 and set(body) == {"providerSessionId", "heartbeatSeconds", "protocol", "llms", "agents", "toolServers"}
        assert body["heartbeatSeconds"] == 7 and body["protocol"] == 1 and body["agents"] == [] == body["toolServers"]
        assert body["llms"] == [await broker.llm("m")]
        assert body["llms"][0]["providerSessionId"] == body["providerSessionId"]


async def test_a_session_id_that_the_publisher_presents_is_kept(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", session="my-own-session") as provider:
        assert provider.session == "my-own-session"
        assert (await broker.llm("m"))["providerSessionId"] == "my-own-session"


async def test_the_session_may_come_in_the_header(redis_real):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call(
            "POST", f"{LLMS}/_provider-register", {"providers": [{"name": "m", "type": "openai"}]},
            headers={"X-Provider-Session": "from-a-header"},
        )
        assert status == 201 and body["providerSessionId"] == "from-a-header"


async def test_a_refused_entry_leaves_nothing_changed(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "held"), Provider(broker, "mine", model="old") as mine:
        before = await broker.llm("mine")
        mine._fields = {"model": "new"}
        status, body, _ = await mine.register("fresh", "mine", "held", replace=True)
        assert status == 409 and "'held'" in body["error"]["message"]
        assert (await broker.call("GET", f"{LLMS}/fresh"))[0] == 404
        assert await broker.llm("mine") == before


async def test_a_refused_first_registration_makes_no_session(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "held"):
        refused = Provider(broker, "fresh", "held", session="never-was-one")
        assert (await refused.register())[0] == 409
        assert (await refused.heartbeat())[0] == 404
        assert not [key for key in await redis_at.keys() if b"never-was-one" in key]


async def test_replace_unpublishes_the_rows_that_the_call_leaves_out(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", agents=[{"name": "bot", "llmName": "a"}]) as provider:
        provider._agents = []
        assert (await provider.register("a", replace=True))[0] == 201
        _, rows, _ = await broker.call("GET", LLMS)
        assert [row["name"] for row in rows] == ["a"]
        assert await agent(redis_at, "bot") is None and not await redis_at.read("llm-agents:a")


async def test_without_replace_the_left_out_rows_stay(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b") as provider:
        assert (await provider.register("a"))[0] == 201
        assert (await broker.llm("b"))["status"] == "active"


async def test_unpublishing_refuses_the_requests_of_that_llm_only(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b") as provider:
        asking = [asyncio.create_task(broker.chat(name)) for name in ("a", "b", "b")]
        frames = [await provider.next(), await provider.next()]
        assert (await provider.register("a", replace=True))[0] == 201
        refused = [await asking[1], await asking[2]]
        assert [answer[0] for answer in refused] == [503, 503]
        await provider.answer(next(frame for frame in frames if frame["llmName"] == "a"))
        assert (await asking[0])[0] == 200
        assert (await provider.next("cancel"))["reason"] == "unpublished"


async def test_replace_with_nothing_unpublishes_all_and_ends_the_session(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b") as provider:
        status, body, _ = await provider.post(
            "/_provider-register", {"providerSessionId": provider.session, "providers": [], "replace": True}
        )
        assert status == 201 and body["llms"] == []
        assert (await broker.call("GET", LLMS))[1] == []
        assert (await provider.heartbeat())[0] == 404
        async with asyncio.timeout(20):
            await provider.closed.wait()


async def test_unpublishing_an_llm_keeps_it_inactive_for_a_public_agent(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b") as provider:
        await put_public_agent(redis_at, "helpdesk", "b")
        assert (await provider.register("a", replace=True))[0] == 201
        assert (await broker.llm("b"))["status"] == "inactive"
        assert (await agent(redis_at, "helpdesk"))["llm"] == "b"
        assert (await provider.heartbeat())[0] == 200
        assert (await broker.llm("b"))["status"] == "inactive"
        assert (await provider.register("a", "b"))[0] == 201
        assert (await broker.llm("b"))["status"] == "active"


async def test_a_heartbeat_or_new_registration_does_not_raise_the_version(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await provider.heartbeat()
        await provider.close()
        await broker.until_status("m", "inactive")
        await provider.register()
        assert (await broker.llm("m"))["version"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"providers": []},
        {"providers": [{"name": "m"}, {"name": "m"}]},
        {"providers": [{"name": "m", "slots": 0}]},
        {"providers": [{"name": "m", "tier": "medium"}]},
        {"providers": [{"name": f"m{i}"} for i in range(201)]},
        {"providerSessionId": "short", "providers": [{"name": "m"}]},
        {"providerSessionId": "with spaces in it", "providers": [{"name": "m"}]},
    ],
    ids=["nothing", "twins", "slots", "tier", "too many", "short session", "odd session"],
)
async def test_an_impossible_value_is_422_and_names_the_field(redis_real, body):
    async with replica(redis_real) as broker:
        status, answer, _ = await broker.call("POST", f"{LLMS}/_provider-register", body)
        assert status == 422 and answer["error"]["param"]
        assert (await broker.call("GET", LLMS))[1] == []


@pytest.mark.parametrize(
    "name", ["", "_hidden", "x" * 129, "a\nb", "a\r\nb", "\x00", "tab\t", "del\x7f", "nel\x85"],
    ids=["empty", "underscore", "129", "newline", "crlf", "null", "tab", "delete", "c1"],
)
async def test_an_impossible_name_is_refused(redis_real, name):
    async with replica(redis_real) as broker:
        status, body, _ = await Provider(broker, name).register()
        assert status == 422 and body["error"]["param"] == "providers[0].name"


@pytest.mark.parametrize(
    "name",
    [
        "x", "x" * 128, "ü" * 128, "llama3:8b", "meta/llama-3:70b", "模型", "👩\u200d💻 pair", "a b", "100% {x}", "a?b#c", "non\u00a0breaking",
        "q&a=b+c;d", "back\\slash", "quote'\"", "a//b/", "llm:agent:x", "{ns}", "]]", "~tilde", "..",
    ],
)
async def test_every_possible_name_works_through_every_route(redis_real, name):
    async with replica(redis_real) as broker, Provider(broker, name) as provider:
        row = (await broker.call("GET", LLMS))[1][0]
        assert row["name"] == name
        # A dot segment cannot be sent in a path by any client; such a row is reached by its id.
        path = quote(name, safe="") if name != ".." else row["id"]
        for url in (f"{LLMS}/{path}", f"/v1/models/{path}"):
            status, body, _ = await broker.call("GET", url)
            assert status == 200 and body["id"] in (row["id"], name), body
        asking = [asyncio.create_task(broker.chat(name))]
        if name != "..":
            asking.append(asyncio.create_task(broker.call("POST", f"{LLMS}/{path}/infer", {"messages": []})))
        for one in asking:
            frame = await provider.next()
            assert frame["llmName"] == name
            await provider.answer(frame)
        assert [(await one)[0] for one in asking] == [200] * len(asking)
        sleep = {"providerSessionId": provider.session, "llmName": name, "status": "hibernating"}
        assert (await provider.post("/_provider-status", sleep))[0] == 200
        assert (await broker.call("DELETE", f"{LLMS}/{path}"))[0] == 204


async def _until_inactive(place, name: str) -> None:
    async def inactive() -> bool:
        return (await place.read(f"llm:{name}"))[b"status"] == b"inactive"

    await eventually(inactive)


async def test_what_an_open_broker_published_is_adopted_by_the_first_token_that_asks(redis_at):
    async with replica(redis_at) as open_broker, Provider(open_broker, "qwen") as provider:
        before = await open_broker.llm("qwen")
        await provider.close()
        await open_broker.until_status("qwen", "inactive")
    async with tokens(redis_at, alice="publisher") as made, replica(redis_at) as broker:
        async with Provider(broker, "qwen", token=made.alice) as mine:
            _, row, _ = await broker.call("GET", "/api/v1/llms/qwen", headers=mine.headers)
            assert row["id"] == before["id"] and row["providerSessionId"] == mine.session
