"""A project's ``mcpServers``: an admin's, checked field by field; the secrets that they name cannot go."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.brokers import replica
from tests.support.library import PROJECTS, make_project, read, says
from tests.support.public import HERE, SECRETS, make_llm, put_secret
from tests.support.tokens import bearer, tokens

SEARCH = {"name": "search", "url": "http://127.0.0.1:9/mcp"}
FILES = {"name": "files", "toolServer": "files"}


async def test_servers_are_kept_as_they_were_given(redis_at):
    async with replica(redis_at, **HERE) as broker:
        await put_secret(broker, "key", "sk-1")
        servers = [{**SEARCH, "apiKeyRef": "key", "apiKeyHeader": "X-Api-Key", "tools": ["find"], "timeoutSeconds": 2.5}, FILES]
        row = await make_project(broker, "p", mcpServers=servers)
        assert row["mcpServers"] == servers == (await read(broker, PROJECTS, "p"))["mcpServers"]
        _, row, _ = await broker.call("PATCH", f"{PROJECTS}/p", {"mcpServers": [FILES]})
        assert row["mcpServers"] == [FILES]
        _, row, _ = await broker.call("PATCH", f"{PROJECTS}/p", {"mcpServers": []})
        assert row["mcpServers"] == []


async def test_only_an_admin_sets_servers_and_the_owner_edits_the_rest(redis_at):
    async with tokens(redis_at, root="admin", ann="client") as given, replica(redis_at) as broker:
        ann, root = bearer(given.ann), bearer(given.root)
        status, body, _ = await broker.call("POST", PROJECTS, {"name": "p", "mcpServers": [FILES]}, headers=ann)
        assert status == 403 and "admin" in says(body) and body["error"]["param"] == "mcpServers"
        await make_project(broker, "p", mcpServers=[], headers=ann)
        assert (await broker.call("PATCH", f"{PROJECTS}/p", {"mcpServers": [FILES]}, headers=ann))[0] == 403
        status, row, _ = await broker.call("PATCH", f"{PROJECTS}/p", {"mcpServers": [FILES]}, headers=root)
        assert status == 200 and row["mcpServers"] == [FILES] and row["ownerId"] == "ann"
        assert (await broker.call("PATCH", f"{PROJECTS}/p", {"mcpServers": []}, headers=ann))[0] == 403
        status, edited, _ = await broker.call("PATCH", f"{PROJECTS}/p", {"description": "d"}, headers=ann)
        assert status == 200 and edited["mcpServers"] == [FILES]
        status, edited, _ = await broker.call("PUT", f"{PROJECTS}/p", {**edited, "description": "e"}, headers=ann)
        assert status == 200 and edited["mcpServers"] == [FILES] and edited["description"] == "e"


async def test_a_secret_that_a_project_names_is_not_deleted(redis_at):
    async with replica(redis_at, **HERE) as broker:
        await make_llm(broker, "gpt", "http://127.0.0.1:9/v1", key="sk-1")
        for project in ("zeta", "alpha"):
            await make_project(broker, project, mcpServers=[{**SEARCH, "apiKeyRef": "gpt"}])
        status, body, _ = await broker.call("DELETE", f"{SECRETS}/gpt")
        assert status == 409 and "LLMs (gpt)" in says(body) and "projects (alpha, zeta)" in says(body)
        assert (await broker.call("DELETE", "/api/v1/llms/gpt"))[0] == 204
        assert (await broker.call("PATCH", f"{PROJECTS}/zeta", {"mcpServers": [SEARCH]}))[0] == 200
        status, body, _ = await broker.call("DELETE", f"{SECRETS}/gpt")
        assert status == 409 and "projects (alpha)" in says(body) and "LLM" not in says(body)
        assert (await broker.call("DELETE", f"{PROJECTS}/alpha"))[0] == 204
        assert (await broker.call("DELETE", f"{SECRETS}/gpt"))[0] == 204
        assert not [key for key in await redis_at.keys() if key.startswith(b"secret")]


async def test_a_secret_that_is_not_there_is_422_naming_it_and_nothing_changes(redis_at):
    async with replica(redis_at, **HERE) as broker:
        status, body, _ = await broker.call("POST", PROJECTS, {"name": "p", "mcpServers": [{**SEARCH, "apiKeyRef": "none"}]})
        assert status == 422 and "'none'" in says(body) and await read(broker, PROJECTS, "p") is None
        row = await make_project(broker, "p", mcpServers=[SEARCH])
        edit = {"description": "d", "mcpServers": [{**SEARCH, "apiKeyRef": "none"}]}
        assert (await broker.call("PATCH", f"{PROJECTS}/p", edit))[0] == 422 and await read(broker, PROJECTS, "p") == row


async def test_a_project_and_the_delete_of_its_secret_never_both_happen(redis_at):
    async with replica(redis_at, **HERE) as broker, replica(redis_at, **HERE) as other:
        for n in range(6):
            await put_secret(broker, f"k-{n}", "sk-1")
            making = broker.call("POST", PROJECTS, {"name": f"p-{n}", "mcpServers": [{**SEARCH, "apiKeyRef": f"k-{n}"}]})
            (made, _, _), (deleted, _, _) = await asyncio.gather(making, other.call("DELETE", f"{SECRETS}/k-{n}"))
            assert (made, deleted) in ((201, 409), (422, 204))


BAD = [
    ({}, ""), ({"name": "a"}, ".url"), ({**SEARCH, "toolServer": "x"}, ".url"), ({**SEARCH, "name": "a_b"}, ".name"),
    ({**SEARCH, "name": ""}, ".name"), ({**SEARCH, "name": "x" * 33}, ".name"), ({**SEARCH, "name": 5}, ""),
    ({**SEARCH, "url": "ftp://x"}, ".url"), ({**SEARCH, "url": "http://u:p@127.0.0.1/mcp"}, ".url"),
    ({**SEARCH, "url": "http://10.0.0.1/mcp"}, ".url"), ({**SEARCH, "url": "http://127.0.0.1/" + "x" * 2048}, ".url"),
    ({**SEARCH, "url": ""}, ".url"), ({**SEARCH, "url": None}, ""), ({"name": "a", "toolServer": ""}, ".toolServer"),
    ({"name": "a", "toolServer": "_x"}, ".toolServer"), ({**FILES, "apiKeyRef": "key"}, ".apiKeyRef"),
    ({**SEARCH, "apiKeyRef": ""}, ".apiKeyRef"), ({**SEARCH, "apiKeyHeader": "X-Key"}, ".apiKeyHeader"),
    ({**SEARCH, "apiKeyRef": "key", "apiKeyHeader": "X Key"}, ".apiKeyHeader"),
    ({**SEARCH, "apiKeyRef": "key", "apiKeyHeader": "Mcp-Session-Id"}, ".apiKeyHeader"),
    ({**SEARCH, "apiKeyRef": "key", "apiKeyHeader": "host"}, ".apiKeyHeader"),
    ({**SEARCH, "tools": "find"}, ""), ({**SEARCH, "tools": [""]}, ".tools"), ({**SEARCH, "tools": ["x"] * 129}, ".tools"),
    ({**SEARCH, "timeoutSeconds": 0}, ".timeoutSeconds"), ({**SEARCH, "timeoutSeconds": 601}, ".timeoutSeconds"),
    ({**SEARCH, "timeoutSeconds": True}, ""), ({**SEARCH, "command": "rm", "args": []}, ".args"),
]


@pytest.mark.parametrize(("server", "where"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_an_entry_that_is_not_possible_is_422_naming_it(redis_real, server, where):
    async with replica(redis_real, **HERE) as broker:
        await put_secret(broker, "key", "sk-1")
        status, body, _ = await broker.call("POST", PROJECTS, {"name": "p", "mcpServers": [FILES, server]})
        assert status == 422 and body["error"]["param"] == f"mcpServers[1]{where}" and "mcpServers[1]" in says(body), body
        assert await read(broker, PROJECTS, "p") is None


async def test_unknown_fields_are_all_named(redis_real):
    async with replica(redis_real) as broker:
        _, body, _ = await broker.call("POST", PROJECTS, {"name": "p", "mcpServers": [{**FILES, "env": {}, "command": "x"}]})
        assert "`command`, `env`" in says(body)


async def test_names_of_servers_are_unique_and_there_are_at_most_32(redis_real):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("POST", PROJECTS, {"name": "p", "mcpServers": [FILES, FILES]})
        assert status == 422 and body["error"]["param"] == "mcpServers[1].name"
        many = [{**FILES, "name": f"n-{n}"} for n in range(33)]
        status, body, _ = await broker.call("POST", PROJECTS, {"name": "p", "mcpServers": many})
        assert status == 422 and body["error"]["param"] == "mcpServers"
        assert len((await make_project(broker, "p", mcpServers=many[:32]))["mcpServers"]) == 32
