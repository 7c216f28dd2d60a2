"""Public agents: made, edited and deleted by their owner or an admin; never at odds with a publisher's."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.agents import AGENTS, make_agent, shown
from tests.support.brokers import replica
from tests.support.library import PERSONALITIES, PROJECTS, make_personality, make_project
from tests.support.provider import BASE, Provider
from tests.support.rows import put_public_llm
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

BOT = [{"name": "bot", "llmName": "m"}]


def says(body: dict) -> str:
    return body["error"]["message"]


async def test_a_row_is_made_with_defaults_and_read_back(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        row = await make_agent(broker, "bot", "m")
        assert row == await shown(broker, "bot") == await shown(broker, row["id"])
        times = {name: row[name] for name in ("id", "createdAt", "updatedAt")}
        assert row == {
            **times, "name": "bot", "description": "", "systemPrompt": "", "llm": {"id": (await broker.llm("m"))["id"], "name": "m"},
            "model": None, "project": None, "defaultPersonality": None, "proxyModelName": "agent/bot", "defaultParams": {},
            "extras": {}, "kind": "public", "status": "active", "lastHeartbeatAt": None, "inactiveSince": None,
            "ownerId": "local", "version": 1,
        }
        assert await redis_at.read("agents") == {b"bot"} and await redis_at.read("llm-agents:m") == {b"bot"}


async def test_all_fields_are_kept_and_rows_are_listed_by_name(redis_at):
    fields = {"description": "d", "systemPrompt": "be kind", "defaultParams": {"top_p": 0.5}, "extras": {"tools": ["a"]}}
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT):
        project, personality = await make_project(broker, "p"), await make_personality(broker, "pirate")
        row = await make_agent(broker, "b/c", "m", project={"name": "p"}, defaultPersonality={"name": "pirate"}, **fields)
        assert {name: row[name] for name in fields} == fields
        assert row["project"] == {"id": project["id"], "name": "p"}
        assert row["defaultPersonality"] == {"id": personality["id"], "name": "pirate"}
        assert await shown(broker, "b%2Fc") == row
        listed = (await broker.call("GET", AGENTS))[1]
        assert [(one["name"], one["kind"]) for one in listed] == [("b/c", "public"), ("bot", "virtual")]


async def test_a_virtual_agent_reads_as_a_public_one_does(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=[{**BOT[0], "project": "p"}]):
        row = await shown(broker, "bot")
        assert set(row) == set(await make_agent(broker, "other", "m"))
        assert row["llm"] == {"id": (await broker.llm("m"))["id"], "name": "m"} and row["project"] == {"id": None, "name": "p"}
        assert row["kind"] == "virtual" and row["lastHeartbeatAt"] and row["proxyModelName"] == "agent/bot"


@pytest.mark.parametrize("ref", ["name", "id", "row"])
async def test_an_llm_is_named_by_its_name_its_id_or_as_a_row_shows_it(redis_at, ref):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        llm = await broker.llm("m")
        given = {"name": llm["name"], "id": {"id": llm["id"]}, "row": {"id": llm["id"], "name": "m"}}[ref]
        assert (await make_agent(broker, "bot", llm=given))["llm"] == {"id": llm["id"], "name": "m"}


async def test_an_llm_that_is_not_there_is_404_naming_it(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        status, body, _ = await broker.call("POST", AGENTS, {"name": "bot", "llm": "nowhere"})
        assert status == 404 and "'nowhere'" in says(body) and await shown(broker, "bot") is None
        row = await make_agent(broker, "bot", "m")
        status, body, _ = await broker.call("PATCH", f"{AGENTS}/bot", {"llm": {"name": "nowhere"}})
        assert status == 404 and "'nowhere'" in says(body) and await shown(broker, "bot") == row


async def test_a_model_need_not_be_there(redis_at):
    async with replica(redis_at) as broker:
        row = await make_agent(broker, "bot", model="qwen3")
        assert row["model"] == "qwen3" and row["llm"] is None


async def test_a_public_name_is_taken_once(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        row = await make_agent(broker, "bot", "m")
        status, body, _ = await broker.call("POST", AGENTS, {"name": "bot", "model": "x"})
        assert status == 409 and "public agent 'bot'" in says(body) and await shown(broker, "bot") == row


async def test_a_name_that_a_publisher_holds_is_refused_also_while_it_is_away(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        body = {"name": "bot", "llm": "m"}
        status, answer, _ = await broker.call("POST", AGENTS, body)
        assert status == 409 and "virtual agent" in says(answer) and "active" in says(answer)
        await provider.close()
        await broker.until_status("m", "inactive")
        status, answer, _ = await broker.call("POST", AGENTS, body)
        assert status == 409 and "inactive" in says(answer) and (await shown(broker, "bot"))["kind"] == "virtual"


async def test_a_publisher_cannot_register_a_public_name(redis_at):
    async with replica(redis_at) as broker:
        row = await make_agent(broker, "bot", model="x")
        status, body, _ = await Provider(broker, "m", agents=BOT).register()
        assert status == 409 and "agent 'bot' is a public one" in says(body) and await shown(broker, "bot") == row


async def test_a_name_whose_agent_expired_is_free_though_no_sweep_came_by(redis_at):
    timers = {"stale_seconds": 0.8, "expire_seconds": 0.1, "sweep_seconds": 1000}
    async with replica(redis_at, **timers) as broker, Provider(broker, "m", agents=BOT, connect=False):
        old = (await shown(broker, "bot"))["id"]

        async def gone() -> bool:
            return await shown(broker, "bot") is None

        await eventually(gone)
        assert (await make_agent(broker, "bot", model="x"))["id"] != old
        assert len(await redis_at.read("agent-ids")) == 1 and not await redis_at.read("llm-agents:m")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("by", ["name", "id"])
async def test_an_edit_changes_what_it_names_and_raises_the_version(redis_at, method, by):
    async with replica(redis_at) as broker, Provider(broker, "m", "n"):
        await make_project(broker, "p")
        row = await make_agent(broker, "bot", "m", description="d", project="p")
        edit = {"systemPrompt": "s", "llm": "n", "project": None}
        status, edited, headers = await broker.call(method, f"{AGENTS}/{row[by]}", edit)
        assert status == 200 and headers["ETag"] == '"2"' and edited["llm"]["name"] == "n"
        changed = {"systemPrompt": "s", "llm": edited["llm"], "project": None, "version": 2, "updatedAt": edited["updatedAt"]}
        assert edited == {**row, **changed} == await shown(broker, "bot")
        assert not await redis_at.read("llm-agents:m") and await redis_at.read("llm-agents:n") == {b"bot"}


async def test_an_agent_can_change_between_an_llm_and_a_model(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        await make_agent(broker, "bot", "m")
        _, row, _ = await broker.call("PATCH", f"{AGENTS}/bot", {"model": "x"})
        assert (row["llm"], row["model"]) == (None, "x") and not await redis_at.read("llm-agents:m")
        _, row, _ = await broker.call("PATCH", f"{AGENTS}/bot", {"llm": "m"})
        assert (row["llm"]["name"], row["model"]) == ("m", None) and await redis_at.read("llm-agents:m") == {b"bot"}


@pytest.mark.parametrize("answering", [{"llm": "m"}, {"model": "x"}])
async def test_a_row_that_was_read_can_be_sent_back(redis_at, answering):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        await make_project(broker, "p")
        await make_personality(broker, "pirate")
        row = await make_agent(broker, "bot", extras={"a": 1}, project="p", defaultPersonality="pirate", **answering)
        status, edited, _ = await broker.call("PUT", f"{AGENTS}/bot", row)
        assert status == 200 and {**edited, "version": 1, "updatedAt": row["updatedAt"]} == row


@pytest.mark.parametrize(("header", "version"), [(None, 1), ('"1"', None), ("1", 1)])
async def test_an_edit_of_an_older_version_is_refused(redis_at, header, version):
    guard = {} if version is None else {"version": version}
    headers = {"If-Match": header} if header else None
    async with replica(redis_at) as broker:
        await make_agent(broker, "bot", model="x")
        assert (await broker.call("PATCH", f"{AGENTS}/bot", {"description": "a", **guard}, headers=headers))[0] == 200
        status, body, _ = await broker.call("PATCH", f"{AGENTS}/bot", {"description": "b", **guard}, headers=headers)
        assert status == 409 and "version 2, not 1" in says(body) and (await shown(broker, "bot"))["description"] == "a"


async def test_of_two_edits_of_one_version_one_is_made(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other:
        await make_agent(broker, "bot", model="x")
        edits = [one.call("PATCH", f"{AGENTS}/bot", {"model": str(n), "version": 1}) for n, one in enumerate([broker, other] * 4)]
        assert sorted([status for status, _, _ in await asyncio.gather(*edits)]) == [200] + [409] * 7


async def test_an_agent_and_the_delete_of_its_llm_never_both_happen(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other:
        for n in range(8):
            await put_public_llm(redis_at, f"gpt-{n}")
            making = broker.call("POST", AGENTS, {"name": f"bot-{n}", "llm": f"gpt-{n}"})
            (made, _, _), (deleted, _, _) = await asyncio.gather(making, other.call("DELETE", f"{BASE}/gpt-{n}"))
            assert (made, deleted) in ((201, 409), (404, 204))
            assert (await shown(broker, f"bot-{n}") is not None) == (made == 201)


async def test_a_virtual_agent_is_its_publishers_to_edit(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT):
        status, body, _ = await broker.call("PATCH", f"{AGENTS}/bot", {"description": "d"})
        assert status == 409 and "publisher owns it" in says(body) and (await shown(broker, "bot"))["version"] == 1


async def test_a_deleted_agent_leaves_no_key_behind_and_frees_its_llm(redis_at):
    async with replica(redis_at) as broker:
        await put_public_llm(redis_at, "gpt")
        await make_agent(broker, "bot", "gpt")
        status, body, _ = await broker.call("DELETE", f"{BASE}/gpt")
        assert status == 409 and "bot" in says(body)
        assert (await broker.call("DELETE", f"{AGENTS}/bot"))[0] == 204 and await shown(broker, "bot") is None
        assert not [key for key in await redis_at.keys() if b"bot" in key or b"agent" in key]
        assert (await broker.call("DELETE", f"{BASE}/gpt"))[0] == 204


async def test_a_virtual_agent_can_be_deleted_and_is_back_with_the_next_registration(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        old = await shown(broker, "bot")
        assert (await broker.call("DELETE", f"{AGENTS}/{old['id']}"))[0] == 204 and await shown(broker, "bot") is None
        assert (await provider.register())[0] == 201 and (await shown(broker, "bot"))["id"] != old["id"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
async def test_what_is_not_there_is_404_naming_it(redis_real, method):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call(method, f"{AGENTS}/nothing", {} if method.startswith("P") else None)
        assert status == 404 and "'nothing'" in says(body) and body["error"]["code"] == "unknown_agent"


WHOLE = {"name": "x", "llm": "m"}
BAD = [
    ({"llm": "m"}, "name"), ({"name": "x"}, "llm"), ({"name": "_x", "llm": "m"}, "name"), ({"name": "x" * 129, "llm": "m"}, "name"),
    ({**WHOLE, "model": "y"}, "llm"), ({"name": "x", "llm": None}, "llm"), ({"name": "x", "llm": ""}, "llm"),
    ({"name": "x", "llm": {}}, "llm"), ({"name": "x", "model": None}, "llm"), ({"name": "x", "model": "y" * 129}, "model"),
    ({**WHOLE, "prompt": "be kind"}, "prompt"),
    *(({**WHOLE, "defaultParams": {name: 1}}, "defaultParams") for name in ("model", "messages", "stream")),
]


@pytest.mark.parametrize(("fields", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_a_value_that_is_not_possible_is_422_naming_it(redis_real, fields, param):
    async with replica(redis_real) as broker, Provider(broker, "m"):
        status, body, _ = await broker.call("POST", AGENTS, fields)
        assert status == 422 and body["error"]["param"] == param, body
        assert (await broker.call("GET", AGENTS))[1] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": 5}', b'{"llm": 5}', b'{"defaultParams": []}', b"\xff"])
async def test_what_is_no_row_is_400(redis_real, body):
    async with replica(redis_real) as broker:
        assert (await broker.call("POST", AGENTS, body))[0] == 400


async def test_a_name_cannot_be_changed(redis_real):
    async with replica(redis_real) as broker:
        await make_agent(broker, "bot", model="x")
        status, body, _ = await broker.call("PATCH", f"{AGENTS}/bot", {"name": "other"})
        assert status == 422 and body["error"]["param"] == "name"


NAMING = [("project", make_project, PROJECTS, "unknown_project"), ("defaultPersonality", make_personality, PERSONALITIES, "unknown_personality")]


@pytest.mark.parametrize(("field", "make", "path", "code"), NAMING, ids=["project", "personality"])
async def test_a_project_or_personality_that_is_not_there_is_404_naming_it(redis_at, field, make, path, code):
    async with replica(redis_at) as broker:
        status, body, _ = await broker.call("POST", AGENTS, {"name": "bot", "model": "x", field: "nowhere"})
        assert status == 404 and "'nowhere'" in says(body) and (body["error"]["code"], body["error"]["param"]) == (code, field)
        assert await shown(broker, "bot") is None
        row = await make_agent(broker, "bot", model="x")
        status, body, _ = await broker.call("PATCH", f"{AGENTS}/bot", {"description": "d", field: {"name": "nowhere"}})
        assert status == 404 and "'nowhere'" in says(body) and await shown(broker, "bot") == row


@pytest.mark.parametrize(("field", "make", "path", "code"), NAMING, ids=["project", "personality"])
async def test_a_project_or_personality_is_named_by_its_name_its_id_or_as_a_row_shows_it(redis_at, field, make, path, code):
    async with replica(redis_at) as broker:
        one = await make(broker, "one")
        two = await make(broker, "two")
        await make_agent(broker, "bot", model="x", **{field: one["id"]})
        for given in ("two", {"id": two["id"]}, {"id": one["id"], "name": "two"}):
            status, row, _ = await broker.call("PATCH", f"{AGENTS}/bot", {field: given})
            assert status == 200 and row[field] == {"id": two["id"], "name": "two"}
            _, row, _ = await broker.call("PATCH", f"{AGENTS}/bot", {field: "one"})
            assert row[field] == {"id": one["id"], "name": "one"}
        _, row, _ = await broker.call("PATCH", f"{AGENTS}/bot", {field: None})
        assert row[field] is None and not [key for key in await redis_at.keys() if b"-agents:" in key]


@pytest.mark.parametrize(("field", "make", "path", "code"), NAMING, ids=["project", "personality"])
async def test_an_agent_and_the_delete_of_what_it_names_never_both_happen_unseen(redis_at, field, make, path, code):
    async with replica(redis_at) as broker, replica(redis_at) as other:
        for n in range(6):
            await make(broker, f"n-{n}")
            making = broker.call("POST", AGENTS, {"name": f"bot-{n}", "model": "x", field: f"n-{n}"})
            (made, _, _), (deleted, _, _) = await asyncio.gather(making, other.call("DELETE", f"{path}/n-{n}"))
            row = await shown(broker, f"bot-{n}")
            assert deleted == 204 and ((made, row) == (404, None) or (made == 201 and row[field] is None))


async def test_an_agent_is_its_owners_and_an_admins(redis_at):
    roles = {"root": "admin", "ann": "client", "app": "client of ann", "pub": "publisher of ann", "bob": "client"}
    async with tokens(redis_at, **roles) as given, replica(redis_at) as broker:
        assert (await broker.call("POST", AGENTS, {"name": "no", "model": "x"}, headers=bearer(given.pub)))[0] == 403
        row = await make_agent(broker, "bot", model="x", headers=bearer(given.ann))
        assert row["ownerId"] == "ann"
        for token, code in ((given.bob, 404), (given.pub, 403), (given.app, 200), (given.root, 200)):
            assert (await broker.call("PATCH", f"{AGENTS}/bot", {"description": "d"}, headers=bearer(token)))[0] == code
            assert (await broker.call("GET", f"{AGENTS}/bot", headers=bearer(token)))[0] == 200
        for token, code in ((given.bob, 404), (given.pub, 403), (given.app, 204)):
            assert (await broker.call("DELETE", f"{AGENTS}/bot", headers=bearer(token)))[0] == code
        await make_agent(broker, "bot", model="x", headers=bearer(given.ann))
        assert (await broker.call("DELETE", f"{AGENTS}/bot", headers=bearer(given.root)))[0] == 204


async def test_a_virtual_agent_is_deleted_by_its_publishers_owner(redis_at):
    roles = {"pub": "publisher", "app": "client of pub", "other": "publisher"}
    async with tokens(redis_at, **roles) as given, replica(redis_at) as broker:
        async with Provider(broker, "m", agents=BOT, token=given.pub):
            for token, code in ((given.app, 403), (given.other, 404), (given.pub, 204)):
                assert (await broker.call("DELETE", f"{AGENTS}/bot", headers=bearer(token)))[0] == code
