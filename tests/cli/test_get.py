"""``broker get``: rows as tables, documents, JSON and names; what changes."""

from __future__ import annotations

import asyncio
import json

import pytest

from scripts.ports import free_port
from tests.cli.running import applied, did, documents, json_lines, lines, ran, row, rows, said, started
from tests.support.agents import make_agent
from tests.support.batches import create, ended
from tests.support.brokers import Replica, replica
from tests.support.ending import end
from tests.support.jobs import submit, until
from tests.support.provider import Provider
from tests.support.public import HERE, put_secret
from tests.support.tokens import tokens


async def next_line(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(15):
        return (await process.stdout.readline()).decode()


async def test_a_table_says_what_is_there_and_wide_says_more(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "qwen3:8b", "other/m", agents=[{"name": "v", "llmName": "qwen3:8b"}]):
        await make_agent(broker, "any", model="m x")
        head, *found = lines(await did(broker, "get", "llms"))
        assert head == ["NAME", "STATUS", "KIND", "MODEL", "AGE"]
        assert [line[:4] for line in found] == [["other/m", "active", "virtual", "other/m"], ["qwen3:8b", "active", "virtual", "qwen3:8b"]]
        assert all(line[4].endswith("s") for line in found)
        head, *found = lines(await did(broker, "get", "agent"))
        assert [line[:-1] for line in found] == [["any", "active", "public", "any", "m", "x", "-"], ["v", "active", "virtual", "qwen3:8b", "-"]]
        wide = await did(broker, "get", "llms", "-o", "wide")
        assert (await row(broker, "llms", "qwen3:8b"))["id"] in wide and "SESSION" in wide
        head, session = lines(await did(broker, "get", "sessions"))
        assert session[1:4] == ["active", "2", "1"]


async def test_every_kind_is_listed_in_every_form(redis_real, tmp_path):
    kinds = (
        "projects", "prompts", "personalities", "llms", "pools", "agents", "sessions", "threads", "tasks", "batches", "tool-servers", "secrets",
    )
    settings = {**HERE, "files_dir": str(tmp_path)}
    async with replica(redis_real, **settings) as broker, Provider(broker, "m", agents=[{"name": "v", "llmName": "m"}]) as provider:
        await provider.register(toolServers=[{"name": "files"}], agents=[{"name": "v", "llmName": "m"}])
        await put_secret(broker, "key", "hush")
        await applied(
            broker, {"kind": "Project", "name": "p"}, {"kind": "Prompt", "name": "q", "content": "c"},
            {"kind": "Personality", "name": "r", "prompts": ["q"]}, {"kind": "Pool", "name": "s", "members": [{"llm": "m"}]},
        )
        await until(broker, (await submit(broker))["id"], "running")
        await ended(broker, await create(broker, ""))
        status, thread, _ = await broker.call("POST", "/api/v1/agents/v/threads", {"title": "T"})
        assert status == 201, thread
        for kind in kinds:
            found = json.loads(await said(broker, "get", kind, "-o", "json"))
            key = "id" if kind in ("prompts", "sessions", "threads", "tasks", "batches") else "name"
            singular = {"personalities": "personality", "batches": "batch"}.get(kind, kind.removesuffix("s"))
            assert len(found) == 1, kind
            assert await said(broker, "get", singular, "-o", "name") == f"{singular}/{found[0][key]}\n"
            assert await said(broker, "get", kind, found[0][key], "--json") == json.dumps(found[0], indent=2) + "\n"
            (document,) = documents(await said(broker, "get", kind, "-o", "yaml"))
            assert document["kind"] == {"llms": "LLM", "tool-servers": "ToolServer"}.get(kind, singular.title())
            assert len((await said(broker, "get", kind, "-o", "wide")).splitlines()) == 2
            assert found[0][key] in await said(broker, "describe", kind, found[0][key])
        await provider.answer(await provider.next())


async def test_a_secret_is_never_shown(redis_real):
    async with replica(redis_real, **HERE) as broker:
        await put_secret(broker, "key", "hush-hush")
        for form in ("wide", "json", "yaml"):
            assert "hush" not in await did(broker, "get", "secrets", "-o", form)


async def test_what_is_not_there_is_said_and_the_rest_is_shown(redis_real):
    async with replica(redis_real) as broker:
        await make_agent(broker, "a", model="m")
        done = await ran(broker, "get", "agents", "gone", "a", "-o", "name")
        assert (done.code, done.out) == (1, "agent/a\n") and done.err.startswith("broker: There is no agent 'gone'")
        done = await ran(broker, "get", "projects")
        assert (done.code, done.out, done.err) == (0, "", "there are no projects\n")
        assert await did(broker, "get", "projects", "--json") == "[]\n"


async def test_prompts_are_filtered_and_found_by_a_name_that_is_unique(redis_real):
    async with replica(redis_real) as broker:
        await applied(
            broker, {"kind": "Project", "name": "p"}, {"kind": "Agent", "name": "a", "model": "m"},
            *({"kind": "Prompt", "name": "x", "content": "c", **of} for of in ({}, {"project": "p"}, {"agent": "a"})),
            {"kind": "Prompt", "name": "alone", "content": "d", "agent": "a"},
        )
        assert [line[:3] for line in lines(await did(broker, "get", "prompts", "--agent", "a"))[1:]] == [["alone", "agent", "a"], ["x", "agent", "a"]]
        assert [line[:3] for line in lines(await did(broker, "get", "prompts", "--project", "p"))[1:]] == [["x", "project", "p"]]
        assert "Content:              d" in await did(broker, "describe", "prompt", "alone")
        done = await ran(broker, "delete", "prompt", "x")
        assert done.code == 1 and "3 prompts are called 'x'; give an id: " in done.err and "(agent a)" in done.err
        assert len(await rows(broker, "prompts")) == 4


async def test_names_cannot_act_on_the_terminal(redis_real):
    async with replica(redis_real) as broker:
        await make_agent(broker, "a\u202eb", model="m", description="x\x1b[2Jy")
        out = await did(broker, "get", "agents", "-o", "wide")
        assert "\x1b" not in out and "a\\u202eb" in out and "x\\x1b[2Jy" in out


async def test_watching_shows_what_changes(redis_real):
    async with replica(redis_real) as broker, started(broker, "get", "agents", "-w", NO_COLOR="1") as process:
        assert await asyncio.wait_for(process.stderr.readline(), 15) == b"there are no agents\n"
        await make_agent(broker, "new", model="m")
        assert (await next_line(process)).split()[0] == "NAME"
        assert (await next_line(process)).split()[:2] == ["new", "active"]
        await broker.call("PATCH", "/api/v1/agents/new", {"model": "other"})
        assert (await next_line(process)).split()[:5] == ["new", "active", "public", "any", "other"]
        await broker.call("DELETE", "/api/v1/agents/new")
        line = (await next_line(process)).split()
        assert line[0] == "new" and line[-1] == "deleted"


async def test_changes_can_be_watched_as_json(redis_real):
    async with replica(redis_real) as broker:
        await make_agent(broker, "a", model="m")
        async with started(broker, "get", "agents", "a", "-w", "-o", "json") as process:
            before = json.loads("".join([await next_line(process) for _ in range(len(json.dumps((await rows(broker, "agents"))[0], indent=2).splitlines()))]))
            assert before["name"] == "a"
            await broker.call("DELETE", "/api/v1/agents/a")
            (change,) = json_lines(await next_line(process))
            assert (change["change"], change["agent"]["name"]) == ("deleted", "a")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["get", "things"], 2, "'things' is none of projects, prompts, personalities, llms"),
        (["get", "llms", "--project", "p"], 2, "--project for prompts"),
        (["get", "llms", "--state", "dead"], 2, "--state is for lists of tasks"),
        (["get", "tasks", "--state", "lost"], 2, "'lost' is not one of 'queued', 'running'"),
        (["delete", "task", "x"], 2, "`broker task cancel` ends a task"),
        (["task", "purge", "queued"], 2, "'queued' is not one of 'done'"),
        (["task", "submit"], 2, "say who is asked: `broker task submit AGENT|LLM MESSAGE`"),
        (["task", "submit", "m", ""], 2, "the message is empty"),
        (["task", "submit", "m", "x", "-f", __file__], 2, "give it or a message"),
        (["task", "submit", "m", "x", "--deadline", "soon"], 2, "--deadline 'soon' is neither a time"),
        (["task", "submit", "m", "x", "--webhook", "http://x"], 2, "belong together"),
        (["task", "follow", "x", "--after", "1"], 2, "--after goes with --json"),
        (["get", "llms", "-w", "-o", "yaml"], 2, "not as yaml"),
        (["delete", "sessions", "x"], 2, "'sessions' is none of"),
        (["edit", "secret", "x"], 2, "'secret' is none of"),
        (["delete", "agents"], 2, "give either a kind and names, or -f"),
        (["get", "llms", "--broker", "127.0.0.1:1"], 2, '--broker (BROKER_URL) must be an address like "http://'),
        (["get", "llms", "--broker", "http://me:hush@x"], 2, "must hold no user, no password"),
        (["get", "llms", "--broker", "http://x/?k=hush"], 2, "must hold no user, no password"),
        (["get", "llms", "--token", "a\nb"], 2, "has characters that no token has"),
        (["chat", "x", "--thread", "t", "--new"], 2, "give one of them"),
    ],
)
async def test_a_command_that_cannot_be_meant_is_refused(words, code, said):
    done = await ran("http://127.0.0.1:9", *words)
    assert (done.code, done.out) == (code, "") and said in done.err and "hush" not in done.err, done


async def test_a_broker_that_is_not_there_is_named():
    url = f"http://127.0.0.1:{free_port()}"
    done = await ran(url, "get", "llms")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"broker: nothing answers at {url} (Connection refused): start it with `broker up`, or name another with --broker or BROKER_URL\n"
    )


async def test_what_is_no_broker_is_said():
    from tests.support.backend import Backend

    async with Backend() as backend:
        url = backend.url.removesuffix("/v1")
        done = await ran(url, "get", "llms")
        assert done.code == 1 and done.err.startswith(f"broker: what answers at {url} is no broker (HTTP 404, text/plain)")


async def test_a_token_is_wanted_and_its_role_counts(redis_real):
    async with tokens(redis_real, app="client") as made, replica(redis_real, **HERE) as broker:
        done = await ran(broker, "get", "llms")
        assert done.code == 1 and done.err == "broker: the broker wants a valid token: give --token or BROKER_TOKEN (`broker tokens create` makes one)\n"
        assert (await ran(broker, "get", "agents", BROKER_TOKEN=made.app)).code == 0
        done = await ran(broker, "get", "secrets", "--token", made.app)
        assert done.code == 1 and "admin" in done.err and made.app not in done.err


async def test_colours_are_for_terminals_that_want_them(redis_real):
    async with replica(redis_real) as broker:
        await make_agent(broker, "a", model="m")
        assert "\x1b[32mactive" in await did(broker, "get", "agents", FORCE_COLOR="1")
        assert "\x1b" not in await did(broker, "get", "agents", FORCE_COLOR="1", NO_COLOR="1")
        assert "\x1b" not in await did(broker, "get", "agents")


async def test_a_broker_behind_a_path_is_called_there(redis_real):
    from aiohttp import web

    async with replica(redis_real) as broker:
        await make_agent(broker, "a/b", model="m")
        seen: list[str] = []

        async def pass_on(request: web.Request) -> web.Response:
            seen.append(request.raw_path)
            _, found, _ = await broker.call("GET", request.raw_path.removeprefix("/llm"))
            return web.json_response(found)

        app = web.Application()
        app.router.add_get("/llm/{rest:.*}", pass_on)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/llm/"
            assert await did(url, "get", "agent", "a/b", "-o", "name") == "agent/a/b\n"
        finally:
            await end(runner)
        assert seen == ["/llm/api/v1/agents/a%2Fb"]


async def interrupted(broker: Replica, *words: str) -> int:
    async with started(broker, *words) as process:
        await asyncio.wait_for(process.stderr.readline(), 15)
        process.send_signal(2)
        return await asyncio.wait_for(process.wait(), 15)


async def test_an_interrupted_watch_says_nothing_more(redis_real):
    async with replica(redis_real) as broker:
        assert await interrupted(broker, "get", "agents", "-w") == 130
