"""Projects: made, edited and deleted by their owner or an admin; what names one is cleared when it goes."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.agents import AGENTS, make_agent, shown
from tests.support.brokers import replica
from tests.support.library import PROJECTS, make_project, make_prompt, read, says
from tests.support.provider import Provider
from tests.support.tokens import bearer, tokens

BOT = [{"name": "bot", "llmName": "m", "project": "p"}]


async def test_a_row_is_made_with_defaults_and_read_back(redis_at):
    async with replica(redis_at) as broker:
        status, row, headers = await broker.call("POST", PROJECTS, {"name": "p"})
        assert status == 201 and headers["ETag"] == '"1"'
        assert row == await read(broker, PROJECTS, "p") == await read(broker, PROJECTS, row["id"])
        times = {name: row[name] for name in ("id", "createdAt", "updatedAt")}
        assert row == {**times, "name": "p", "description": "", "mcpServers": [], "ownerId": "local", "version": 1}
        assert row["createdAt"].endswith("Z") and await redis_at.read("projects") == {b"p"}


async def test_rows_are_listed_by_name_and_a_slash_in_a_name_is_escaped(redis_at):
    async with replica(redis_at) as broker:
        for name in ("z", "a/b", "m"):
            await make_project(broker, name)
        assert [row["name"] for row in (await broker.call("GET", PROJECTS))[1]] == ["a/b", "m", "z"]
        assert (await read(broker, PROJECTS, "a%2Fb"))["name"] == "a/b"


async def test_a_name_is_taken_once(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other:
        makes = [one.call("POST", PROJECTS, {"name": "p", "description": str(n)}) for n, one in enumerate([broker, other] * 3)]
        assert sorted([status for status, _, _ in await asyncio.gather(*makes)]) == [201] + [409] * 5
        assert len(await redis_at.read("project-ids")) == 1


async def test_no_name_hides_another_rows_id(redis_at):
    async with replica(redis_at) as broker:
        first = await make_project(broker, "p")
        await make_project(broker, first["id"])
        assert (await read(broker, PROJECTS, first["id"]))["name"] == "p"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("by", ["name", "id"])
async def test_an_edit_changes_what_it_names_and_raises_the_version(redis_at, method, by):
    async with replica(redis_at) as broker:
        row = await make_project(broker, "p", description="d")
        status, edited, headers = await broker.call(method, f"{PROJECTS}/{row[by]}", {"description": "e"})
        assert status == 200 and headers["ETag"] == '"2"'
        assert edited == {**row, "description": "e", "version": 2, "updatedAt": edited["updatedAt"]} == await read(broker, PROJECTS, "p")


@pytest.mark.parametrize(("header", "version"), [(None, 1), ('"1"', None)])
async def test_an_edit_of_an_older_version_is_refused(redis_at, header, version):
    guard = {} if version is None else {"version": version}
    headers = {"If-Match": header} if header else None
    async with replica(redis_at) as broker:
        await make_project(broker, "p")
        assert (await broker.call("PATCH", f"{PROJECTS}/p", {"description": "a", **guard}, headers=headers))[0] == 200
        status, body, _ = await broker.call("PATCH", f"{PROJECTS}/p", {"description": "b", **guard}, headers=headers)
        assert status == 409 and "version 2, not 1" in says(body) and (await read(broker, PROJECTS, "p"))["description"] == "a"


async def test_of_two_edits_of_one_version_one_is_made(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other:
        await make_project(broker, "p")
        edits = [one.call("PATCH", f"{PROJECTS}/p", {"description": str(n), "version": 1}) for n, one in enumerate([broker, other] * 3)]
        assert sorted([status for status, _, _ in await asyncio.gather(*edits)]) == [200] + [409] * 5


async def test_a_row_that_was_read_can_be_sent_back(redis_at):
    async with replica(redis_at) as broker:
        servers = [{"name": "files", "toolServer": "files", "tools": [], "timeoutSeconds": 5}]
        row = await make_project(broker, "p", mcpServers=servers)
        status, edited, _ = await broker.call("PUT", f"{PROJECTS}/p", row)
        assert status == 200 and {**edited, "version": 1, "updatedAt": row["updatedAt"]} == row


async def test_a_deleted_project_takes_its_prompts_and_is_named_by_nobody(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT):
        project = await make_project(broker, "p")
        await make_agent(broker, "public", model="x", project="p")
        prompt = await make_prompt(broker, "style", project="p")
        assert (await shown(broker, "bot"))["project"] == {"id": project["id"], "name": "p"}
        assert (await broker.call("DELETE", f"{PROJECTS}/{project['id']}"))[0] == 204
        assert await read(broker, PROJECTS, "p") is None and await read(broker, "/api/v1/prompts", prompt["id"]) is None
        for agent in ("bot", "public"):
            row = await shown(broker, agent)
            assert row["project"] is None and row["version"] == 1
        assert not [key for key in await redis_at.keys() if b"project" in key or b"prompt" in key]


async def test_a_publishers_agent_names_a_project_before_it_is_made(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        assert (await shown(broker, "bot"))["project"] == {"id": None, "name": "p"}
        assert await redis_at.read("project-agents:p") == {b"bot"}
        project = await make_project(broker, "p")
        assert (await shown(broker, "bot"))["project"] == {"id": project["id"], "name": "p"}
        provider._agents = [{"name": "bot", "llmName": "m", "project": "q"}]
        assert (await provider.register())[1]["agents"][0]["project"] == {"id": None, "name": "q"}
        assert not await redis_at.read("project-agents:p") and await redis_at.read("project-agents:q") == {b"bot"}
        assert (await broker.call("DELETE", f"{AGENTS}/bot"))[0] == 204
        assert not await redis_at.read("project-agents:q")


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
async def test_what_is_not_there_is_404_naming_it(redis_real, method):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call(method, f"{PROJECTS}/nothing", {} if method.startswith("P") else None)
        assert status == 404 and "'nothing'" in says(body) and body["error"]["code"] == "unknown_project"


BAD = [({}, "name"), ({"name": ""}, "name"), ({"name": "_x"}, "name"), ({"name": "x" * 129}, "name"), ({"name": "x", "servers": []}, "servers"),
       ({"name": "x", "description": "é" * 2049}, "description")]


@pytest.mark.parametrize(("fields", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_a_value_that_is_not_possible_is_422_naming_it(redis_real, fields, param):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("POST", PROJECTS, fields)
        assert status == 422 and body["error"]["param"] == param, body
        assert (await broker.call("GET", PROJECTS))[1] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": 5}', b'{"mcpServers": {}}', b'{"mcpServers": [5]}', b"\xff"])
async def test_what_is_no_row_is_400(redis_real, body):
    async with replica(redis_real) as broker:
        assert (await broker.call("POST", PROJECTS, body))[0] == 400


async def test_a_name_cannot_be_changed(redis_real):
    async with replica(redis_real) as broker:
        await make_project(broker, "p")
        status, body, _ = await broker.call("PATCH", f"{PROJECTS}/p", {"name": "q"})
        assert status == 422 and body["error"]["param"] == "name"


async def test_a_project_is_its_owners_and_an_admins(redis_at):
    roles = {"root": "admin", "ann": "client", "app": "client of ann", "pub": "publisher of ann", "bob": "client"}
    async with tokens(redis_at, **roles) as given, replica(redis_at) as broker:
        assert (await broker.call("POST", PROJECTS, {"name": "no"}, headers=bearer(given.pub)))[0] == 403
        assert (await make_project(broker, "p", headers=bearer(given.ann)))["ownerId"] == "ann"
        for token, code in ((given.bob, 404), (given.pub, 403), (given.app, 200), (given.root, 200)):
            assert (await broker.call("PATCH", f"{PROJECTS}/p", {"description": "d"}, headers=bearer(token)))[0] == code
            assert (await broker.call("GET", f"{PROJECTS}/p", headers=bearer(token)))[0] == 200
        for token, code in ((given.bob, 404), (given.pub, 403), (given.app, 204)):
            assert (await broker.call("DELETE", f"{PROJECTS}/p", headers=bearer(token)))[0] == code
        await make_project(broker, "p", headers=bearer(given.ann))
        assert (await broker.call("DELETE", f"{PROJECTS}/p", headers=bearer(given.root)))[0] == 204
