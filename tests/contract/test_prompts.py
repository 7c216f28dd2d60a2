"""Prompts: of a project, of an agent or of none, with names of their own there; they go with what they belong to."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.agents import AGENTS, make_agent, shown
from tests.support.brokers import replica
from tests.support.library import PROJECTS, PROMPTS, make_project, make_prompt, read, says
from tests.support.provider import Provider
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

BOT = [{"name": "bot", "llmName": "m"}]


async def test_a_row_is_made_and_read_back_by_its_id(redis_at):
    async with replica(redis_at) as broker:
        text = "Sei nett 🙂\n\"quoted\" \\ \t\u0000 end"
        status, row, headers = await broker.call("POST", PROMPTS, {"name": "style", "content": text})
        assert status == 201 and headers["ETag"] == '"1"' and row == await read(broker, PROMPTS, row["id"])
        times = {name: row[name] for name in ("id", "createdAt", "updatedAt")}
        assert row == {
            **times, "name": "style", "content": text, "scope": "global", "project": None, "agent": None, "ownerId": "local", "version": 1
        }
        assert await read(broker, PROMPTS, "style") is None


async def test_a_prompt_belongs_to_a_project_or_an_agent_by_name_id_or_row(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT):
        project, agent = await make_project(broker, "p"), await shown(broker, "bot")
        for n, given in enumerate(("p", project["id"], {"name": "p"}, {"id": project["id"], "name": "p"})):
            row = await make_prompt(broker, f"s-{n}", project=given)
            assert (row["scope"], row["project"], row["agent"]) == ("project", {"id": project["id"], "name": "p"}, None)
        for n, given in enumerate(("bot", agent["id"], {"name": "bot"})):
            row = await make_prompt(broker, f"s-{n}", agent=given)
            assert (row["scope"], row["project"], row["agent"]) == ("agent", None, {"id": agent["id"], "name": "bot"})


async def test_names_are_unique_per_project_per_agent_and_among_the_rest(redis_at):
    async with replica(redis_at) as broker:
        await make_project(broker, "p")
        await make_project(broker, "bot")
        await make_agent(broker, "bot", model="x")
        places = ({}, {"project": "p"}, {"project": "bot"}, {"agent": "bot"})
        for place in places:
            await make_prompt(broker, "style", **place)
        for place in places:
            status, body, _ = await broker.call("POST", PROMPTS, {"name": "style", "content": "c", **place})
            assert status == 409 and "'style'" in says(body)
        assert len(await redis_at.read("prompts")) == 4


async def test_of_two_of_one_name_one_is_made(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other:
        makes = [one.call("POST", PROMPTS, {"name": "style", "content": "c"}) for one in [broker, other] * 3]
        assert sorted([status for status, _, _ in await asyncio.gather(*makes)]) == [201] + [409] * 5


async def test_what_it_is_to_belong_to_must_be_there(redis_at):
    async with replica(redis_at) as broker:
        for field, code in (("project", "unknown_project"), ("agent", "unknown_agent")):
            status, body, _ = await broker.call("POST", PROMPTS, {"name": "s", "content": "c", field: "nowhere"})
            assert status == 404 and "'nowhere'" in says(body) and body["error"]["code"] == code
        assert not await redis_at.read("prompts")


async def test_a_prompt_and_the_delete_of_its_project_leave_none_alone(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other:
        for n in range(6):
            await make_project(broker, f"p-{n}")
            making = broker.call("POST", PROMPTS, {"name": "s", "content": "c", "project": f"p-{n}"})
            (made, _, _), (deleted, _, _) = await asyncio.gather(making, other.call("DELETE", f"{PROJECTS}/p-{n}"))
            assert deleted == 204 and made in (201, 404) and (await broker.call("GET", PROMPTS))[1] == []


async def test_the_list_can_be_of_one_project_agent_scope_or_name(redis_at):
    async with replica(redis_at) as broker:
        project = await make_project(broker, "p/q")
        await make_agent(broker, "bot", model="x")
        for place in ({}, {"project": "p/q"}, {"agent": "bot"}):
            for name in ("b", "a"):
                await make_prompt(broker, name, **place)

        async def found(query: str) -> list[tuple[str, str]]:
            status, rows, _ = await broker.call("GET", f"{PROMPTS}{query}")
            assert status == 200, rows
            return [(row["scope"], row["name"]) for row in rows]

        assert [name for _, name in await found("")] == ["a"] * 3 + ["b"] * 3
        assert await found("?project=p%2Fq") == await found(f"?project={project['id']}") == [("project", "a"), ("project", "b")]
        assert await found("?scope=project") == await found("?scope=project&project=p%2Fq") == [("project", "a"), ("project", "b")]
        assert await found("?agent=bot&name=b") == [("agent", "b")] and await found("?scope=global") == [("global", "a"), ("global", "b")]
        assert sorted(await found("?name=a")) == [("agent", "a"), ("global", "a"), ("project", "a")]
        assert await found("?project=nowhere") == await found("?name=nothing") == []


@pytest.mark.parametrize("query", ["?scope=mine", "?scope=global&project=p", "?project=p&agent=b", "?scope=agent&project=p"])
async def test_a_list_that_cannot_be_is_422(redis_real, query):
    async with replica(redis_real) as broker:
        assert (await broker.call("GET", f"{PROMPTS}{query}"))[0] == 422


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_an_edit_changes_name_and_content_and_raises_the_version(redis_at, method):
    async with replica(redis_at) as broker:
        await make_project(broker, "p")
        row = await make_prompt(broker, "style", project="p")
        edit = {"name": "tone", "content": "", "version": 1}
        status, edited, headers = await broker.call(method, f"{PROMPTS}/{row['id']}", edit)
        assert status == 200 and headers["ETag"] == '"2"' and edited == {**row, **edit, "version": 2, "updatedAt": edited["updatedAt"]}
        assert await redis_at.read("prompt-names:project:p") == {b"tone": row["id"].encode()}
        await make_prompt(broker, "style", project="p")
        status, body, _ = await broker.call(method, f"{PROMPTS}/{row['id']}", {"name": "style"})
        assert status == 409 and "'style'" in says(body)
        status, body, _ = await broker.call(method, f"{PROMPTS}/{row['id']}", {"content": "b", "version": 1})
        assert status == 409 and "version 2, not 1" in says(body) and await read(broker, PROMPTS, row["id"]) == edited


async def test_a_row_that_was_read_can_be_sent_back_and_a_prompt_does_not_move(redis_at):
    async with replica(redis_at) as broker:
        await make_project(broker, "p")
        await make_agent(broker, "bot", model="x")
        for place in ({}, {"project": "p"}, {"agent": "bot"}):
            row = await make_prompt(broker, "style", **place)
            status, edited, _ = await broker.call("PUT", f"{PROMPTS}/{row['id']}", row)
            assert status == 200 and {**edited, "version": 1, "updatedAt": row["updatedAt"]} == row
        for field, given in (("project", "p"), ("agent", None), ("scope", "global")):
            status, body, _ = await broker.call("PATCH", f"{PROMPTS}/{row['id']}", {field: given})
            assert status == 422 and body["error"]["param"] == field


async def test_a_deleted_prompt_leaves_no_key_behind(redis_at):
    async with replica(redis_at) as broker:
        row = await make_prompt(broker, "style")
        assert (await broker.call("DELETE", f"{PROMPTS}/{row['id']}"))[0] == 204
        assert await read(broker, PROMPTS, row["id"]) is None and not [key for key in await redis_at.keys() if b"prompt" in key]


async def test_the_prompts_of_an_agent_go_when_it_is_deleted(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT):
        await make_agent(broker, "public", model="x")
        for agent in ("bot", "public"):
            row = await make_prompt(broker, "style", agent=agent)
            assert (await broker.call("DELETE", f"{AGENTS}/{agent}"))[0] == 204
            assert await read(broker, PROMPTS, row["id"]) is None
        assert not await redis_at.read("prompts")


@pytest.mark.parametrize("sweep_seconds", [0.05, 1000])
async def test_the_prompts_of_an_agent_that_expired_wait_for_it_by_name_though_no_sweep_came_by(redis_at, sweep_seconds):
    timers = {"stale_seconds": 0.8, "expire_seconds": 0.1, "sweep_seconds": sweep_seconds, "heartbeat_seconds": 0.001}
    async with replica(redis_at, **timers) as broker:
        provider = Provider(broker, "m", agents=BOT, connect=False)
        assert (await provider.register())[0] == 201
        row = await make_prompt(broker, "style", agent="bot")

        async def gone() -> bool:
            return await shown(broker, "bot") is None

        await eventually(gone)
        waiting = await read(broker, PROMPTS, row["id"])
        assert waiting == {**row, "agent": {"id": None, "name": "bot"}}
        assert (await broker.call("GET", f"{PROMPTS}?agent=bot"))[1] == [waiting]
        status, body, _ = await broker.call("POST", PROMPTS, {"name": "more", "content": "c", "agent": "bot"})
        assert status == 404 and body["error"]["code"] == "unknown_agent"
        assert (await Provider(broker, "m", agents=BOT, connect=False).register())[0] == 201
        assert (await read(broker, PROMPTS, row["id"]))["agent"]["id"] is not None


async def test_the_content_has_at_most_256_kib(redis_at):
    async with replica(redis_at) as broker:
        row = await make_prompt(broker, "large", "é" * (128 << 10))
        assert len((await read(broker, PROMPTS, row["id"]))["content"]) == 128 << 10
        status, body, _ = await broker.call("POST", PROMPTS, {"name": "x", "content": "é" * (128 << 10) + "x"})
        assert status == 422 and body["error"]["param"] == "content"
        assert (await broker.call("PATCH", f"{PROMPTS}/{row['id']}", {"content": "x" * ((256 << 10) + 1)}))[0] == 422


async def test_a_project_has_at_most_64_prompts(redis_real):
    async with replica(redis_real) as broker:
        await make_project(broker, "p")
        for n in range(64):
            await make_prompt(broker, f"s-{n}", project="p")
        status, body, _ = await broker.call("POST", PROMPTS, {"name": "more", "content": "c", "project": "p"})
        assert status == 422 and body["error"]["param"] == "project" and "64" in says(body)
        await make_prompt(broker, "more")


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
async def test_what_is_not_there_is_404_naming_it(redis_real, method):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call(method, f"{PROMPTS}/nothing", {} if method.startswith("P") else None)
        assert status == 404 and "'nothing'" in says(body) and body["error"]["code"] == "unknown_prompt"


WHOLE = {"name": "x", "content": "c"}
BAD = [
    ({"content": "c"}, "name"), ({"name": "x"}, "content"), ({**WHOLE, "name": ""}, "name"), ({**WHOLE, "name": "_x"}, "name"),
    ({**WHOLE, "text": "c"}, "text"), ({**WHOLE, "project": "p", "agent": "b"}, "agent"), ({**WHOLE, "scope": "project"}, "scope"),
]


@pytest.mark.parametrize(("fields", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_a_value_that_is_not_possible_is_422_naming_it(redis_real, fields, param):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("POST", PROMPTS, fields)
        assert status == 422 and body["error"]["param"] == param, body
        assert (await broker.call("GET", PROMPTS))[1] == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"name": 5}', b'{"content": []}', b'{"project": 5}', b'{"content": "\\ud800"}'])
async def test_what_is_no_row_is_400(redis_real, body):
    async with replica(redis_real) as broker:
        assert (await broker.call("POST", PROMPTS, body))[0] == 400


async def test_a_prompt_is_its_owners_that_of_its_project_and_an_admins(redis_at):
    roles = {"root": "admin", "ann": "client", "app": "client of ann", "pub": "publisher of ann", "bob": "client"}
    async with tokens(redis_at, **roles) as given, replica(redis_at) as broker:
        ann, bob, root = bearer(given.ann), bearer(given.bob), bearer(given.root)
        await make_project(broker, "p", headers=ann)
        await make_agent(broker, "bot", model="x", headers=ann)
        for place in ({"project": "p"}, {"agent": "bot"}):
            status, body, _ = await broker.call("POST", PROMPTS, {**WHOLE, **place}, headers=bob)
            assert status == 404 and "of yours" in says(body)
            row = await make_prompt(broker, "theirs", headers=root, **place)
            for headers, code in ((bob, 404), (bearer(given.pub), 403), (bearer(given.app), 200), (root, 200)):
                assert (await broker.call("PATCH", f"{PROMPTS}/{row['id']}", {"content": "d"}, headers=headers))[0] == code
                assert (await broker.call("GET", f"{PROMPTS}/{row['id']}", headers=headers))[0] == 200
        own = await make_prompt(broker, "own", headers=bob)
        for headers, code in ((ann, 404), (bob, 204)):
            assert (await broker.call("DELETE", f"{PROMPTS}/{own['id']}", headers=headers))[0] == code
