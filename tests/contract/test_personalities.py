"""Personalities: prompts in an order and parameters; prompts outlive them, agents are cleared of them."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.agents import AGENTS, make_agent, shown
from tests.support.brokers import replica
from tests.support.library import PERSONALITIES, PROMPTS, make_personality, make_project, make_prompt, read, says
from tests.support.tokens import bearer, tokens


async def test_a_row_is_made_with_defaults_and_read_back(redis_at):
    async with replica(redis_at) as broker:
        status, row, headers = await broker.call("POST", PERSONALITIES, {"name": "pirate"})
        assert status == 201 and headers["ETag"] == '"1"'
        assert row == await read(broker, PERSONALITIES, "pirate") == await read(broker, PERSONALITIES, row["id"])
        times = {name: row[name] for name in ("id", "createdAt", "updatedAt")}
        assert row == {
            **times, "name": "pirate", "description": "", "prompts": [], "params": {}, "ownerId": "local", "version": 1
        }
        assert await redis_at.read("personalities") == {b"pirate"}


async def test_prompts_are_named_by_id_by_name_or_as_a_row_shows_them_and_keep_their_order(redis_at):
    async with replica(redis_at) as broker:
        await make_project(broker, "p")
        await make_agent(broker, "bot", model="x")
        first, second = await make_prompt(broker, "one"), await make_prompt(broker, "two")
        third, fourth = await make_prompt(broker, "one", project="p"), await make_prompt(broker, "one", agent="bot")
        given = [fourth["id"], {"name": "one", "project": "p"}, "two", {"id": first["id"], "name": "whatever"}]
        row = await make_personality(broker, "pirate", prompts=given, params={"temperature": 0.5, "stop": []})
        assert row["prompts"] == [
            {"id": fourth["id"], "name": "one", "project": None, "agent": "bot"},
            {"id": third["id"], "name": "one", "project": "p", "agent": None},
            {"id": second["id"], "name": "two", "project": None, "agent": None},
            {"id": first["id"], "name": "one", "project": None, "agent": None},
        ]
        assert row["params"] == {"temperature": 0.5, "stop": []} and row == await read(broker, PERSONALITIES, "pirate")


async def test_a_prompt_counts_once(redis_at):
    async with replica(redis_at) as broker:
        prompt = await make_prompt(broker, "one")
        row = await make_personality(broker, "pirate", prompts=["one", prompt["id"], {"id": "gone", "name": "one"}])
        assert [ref["id"] for ref in row["prompts"]] == [prompt["id"]]


async def test_one_prompt_serves_several_personalities_and_leaves_them_all_when_it_is_deleted(redis_at):
    async with replica(redis_at) as broker:
        one, two = await make_prompt(broker, "one"), await make_prompt(broker, "two")
        await make_personality(broker, "a", prompts=["one", "two"])
        await make_personality(broker, "b", prompts=["one"])
        assert await redis_at.read(f"prompt-personalities:{one['id']}") == {b"a", b"b"}
        assert (await broker.call("DELETE", f"{PROMPTS}/{one['id']}"))[0] == 204
        rows = [await read(broker, PERSONALITIES, name) for name in "ab"]
        assert [[ref["id"] for ref in row["prompts"]] for row in rows] == [[two["id"]], []] and rows[0]["version"] == 1
        assert await redis_at.read("personality:b") and (await redis_at.read("personality:b"))[b"prompts"] == b"[]"


async def test_a_prompt_that_is_not_there_is_404_naming_it(redis_at):
    async with replica(redis_at) as broker:
        await make_project(broker, "p")
        await make_prompt(broker, "one", project="p")
        for ref, name in (("one", "'one'"), ({"id": "nowhere"}, "'nowhere'"), ({"name": "two", "project": "p"}, "'two'")):
            status, body, _ = await broker.call("POST", PERSONALITIES, {"name": "pirate", "prompts": [ref]})
            assert status == 404 and name in says(body) and body["error"]["code"] == "unknown_prompt"
        assert await read(broker, PERSONALITIES, "pirate") is None
        row = await make_personality(broker, "pirate")
        assert (await broker.call("PATCH", f"{PERSONALITIES}/pirate", {"description": "d", "prompts": ["no"]}))[0] == 404
        assert await read(broker, PERSONALITIES, "pirate") == row


async def test_a_personality_and_the_delete_of_its_prompt_never_disagree(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other:
        for n in range(6):
            prompt = await make_prompt(broker, f"p-{n}")
            making = broker.call("POST", PERSONALITIES, {"name": f"n-{n}", "prompts": [prompt["id"]]})
            (made, _, _), (deleted, _, _) = await asyncio.gather(making, other.call("DELETE", f"{PROMPTS}/{prompt['id']}"))
            row = await read(broker, PERSONALITIES, f"n-{n}")
            assert deleted == 204 and ((made, row) == (404, None) or (made == 201 and row["prompts"] == []))


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("by", ["name", "id"])
async def test_an_edit_changes_what_it_names_and_raises_the_version(redis_at, method, by):
    async with replica(redis_at) as broker:
        await make_prompt(broker, "one")
        two = await make_prompt(broker, "two")
        row = await make_personality(broker, "pirate", description="d", prompts=["one"], params={"top_p": 1})
        status, edited, headers = await broker.call(method, f"{PERSONALITIES}/{row[by]}", {"prompts": ["two"]})
        assert status == 200 and headers["ETag"] == '"2"'
        refs = [{"id": two["id"], "name": "two", "project": None, "agent": None}]
        assert edited == {**row, "prompts": refs, "version": 2, "updatedAt": edited["updatedAt"]}
        _, edited, _ = await broker.call(method, f"{PERSONALITIES}/pirate", {"params": {}})
        assert edited["params"] == {} and edited["prompts"] == refs and edited["description"] == "d"


async def test_an_edit_of_an_older_version_is_refused_and_its_prompts_with_it(redis_at):
    async with replica(redis_at) as broker:
        await make_prompt(broker, "one")
        await make_personality(broker, "pirate")
        assert (await broker.call("PATCH", f"{PERSONALITIES}/pirate", {"description": "a", "version": 1}))[0] == 200
        status, body, _ = await broker.call("PATCH", f"{PERSONALITIES}/pirate", {"prompts": ["one"], "version": 1})
        assert status == 409 and "version 2, not 1" in says(body)
        assert (await read(broker, PERSONALITIES, "pirate"))["prompts"] == []


async def test_a_row_that_was_read_can_be_sent_back(redis_at):
    async with replica(redis_at) as broker:
        await make_agent(broker, "bot", model="x")
        await make_prompt(broker, "one", agent="bot")
        row = await make_personality(broker, "pirate", prompts=[{"name": "one", "agent": "bot"}], params={"a": [1.5, {}]})
        status, edited, _ = await broker.call("PUT", f"{PERSONALITIES}/pirate", row)
        assert status == 200 and {**edited, "version": 1, "updatedAt": row["updatedAt"]} == row


async def test_a_deleted_personality_is_no_agents_any_more_and_its_prompts_stay(redis_at):
    async with replica(redis_at) as broker:
        prompt = await make_prompt(broker, "one")
        await make_personality(broker, "pirate", prompts=["one"])
        await make_agent(broker, "bot", model="x", defaultPersonality="pirate")
        assert await redis_at.read("personality-agents:pirate") == {b"bot"}
        await make_agent(broker, "other", model="x", defaultPersonality="pirate")
        assert (await broker.call("DELETE", f"{AGENTS}/other"))[0] == 204
        assert await redis_at.read("personality-agents:pirate") == {b"bot"}
        assert (await broker.call("DELETE", f"{PERSONALITIES}/pirate"))[0] == 204
        assert await read(broker, PERSONALITIES, "pirate") is None and (await shown(broker, "bot"))["defaultPersonality"] is None
        assert await read(broker, PROMPTS, prompt["id"]) == prompt
        assert not [key for key in await redis_at.keys() if b"personalit" in key]


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
async def test_what_is_not_there_is_404_naming_it(redis_real, method):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call(method, f"{PERSONALITIES}/nothing", {} if method.startswith("P") else None)
        assert status == 404 and "'nothing'" in says(body) and body["error"]["code"] == "unknown_personality"


BAD = [
    ({}, "name"), ({"name": "_x"}, "name"), ({"name": "x", "prompt": "p"}, "prompt"), ({"name": "x", "description": "d" * 4097}, "description"),
    ({"name": "x", "prompts": [{}]}, "prompts"), ({"name": "x", "prompts": [""]}, "prompts"), ({"name": "x", "prompts": ["a"] * 65}, "prompts"),
    ({"name": "x", "prompts": [{"name": "a", "project": "p", "agent": "b"}]}, "prompts"),
    *(({"name": "x", "params": {name: 1}}, "params") for name in ("model", "messages", "stream")),
]


@pytest.mark.parametrize(("fields", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_a_value_that_is_not_possible_is_422_naming_it(redis_real, fields, param):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("POST", PERSONALITIES, fields)
        assert status == 422 and body["error"]["param"] == param, body
        assert (await broker.call("GET", PERSONALITIES))[1] == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"name": 5}', b'{"prompts": "one"}', b'{"prompts": [5]}', b'{"params": []}'])
async def test_what_is_no_row_is_400(redis_real, body):
    async with replica(redis_real) as broker:
        assert (await broker.call("POST", PERSONALITIES, body))[0] == 400


async def test_a_name_is_taken_once_and_cannot_be_changed(redis_at):
    async with replica(redis_at) as broker:
        await make_personality(broker, "pirate")
        assert (await broker.call("POST", PERSONALITIES, {"name": "pirate"}))[0] == 409
        status, body, _ = await broker.call("PATCH", f"{PERSONALITIES}/pirate", {"name": "sailor"})
        assert status == 422 and body["error"]["param"] == "name"


async def test_a_personality_is_its_owners_and_an_admins(redis_at):
    roles = {"root": "admin", "ann": "client", "app": "client of ann", "pub": "publisher of ann", "bob": "client"}
    async with tokens(redis_at, **roles) as given, replica(redis_at) as broker:
        assert (await make_personality(broker, "pirate", headers=bearer(given.ann)))["ownerId"] == "ann"
        for token, code in ((given.bob, 404), (given.pub, 403), (given.app, 200), (given.root, 200)):
            assert (await broker.call("PATCH", f"{PERSONALITIES}/pirate", {"params": {}}, headers=bearer(token)))[0] == code
            assert (await broker.call("GET", f"{PERSONALITIES}/pirate", headers=bearer(token)))[0] == 200
        for token, code in ((given.bob, 404), (given.pub, 403), (given.app, 204)):
            assert (await broker.call("DELETE", f"{PERSONALITIES}/pirate", headers=bearer(token)))[0] == code
