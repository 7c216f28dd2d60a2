"""Tools behind NAT, all of it real: an MCP server by stdio, a publisher's process beside it, a broker that asks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import pytest

from broker.http.context import TOOLBOXES
from tests.support.backend import Backend
from tests.support.brokers import replica
from tests.support.home import entry, home
from tests.support.processes import ROOT
from tests.support.tool_servers import tool_server
from tests.support.waiting import eventually

SERVERS = b'[{"name": "desk", "toolServer": "files"}]'


@pytest.fixture
def user(stage):
    with home(stage) as made:
        yield made


def files(folder, **more: object) -> dict:
    """The tool server as a config file names it."""
    return {
        "name": "files", "publish": True, "command": sys.executable, "args": ["-m", "tests.support.mcp_stdio", str(folder)],
        "env": {"PYTHONPATH": str(ROOT)}, **more,
    }


def notes(folder, file: str) -> list[str]:
    return (folder / file).read_text().split() if (folder / file).exists() else []


def lives(pid: str) -> bool:
    return os.path.exists(f"/proc/{pid}")


async def said(broker, tool: str, **arguments: object) -> str:
    """What an LLM gets for a call, by the way that its agent's call takes."""
    tools = await broker.broker.app[TOOLBOXES].open(SERVERS, b"{}", "local")
    assert tools.warnings == []
    return (await tools.call(f"desk__{tool}", json.dumps(arguments), "req_1")).content


@pytest.mark.limit_s(90)
async def test_an_agents_tools_are_those_of_a_program_beside_a_publisher(stage, user, redis_real, tmp_path):
    async with replica(redis_real) as broker:
        user.write_whole({"broker": broker.url, "tools": [files(tmp_path, description="the desk's files")]})
        publisher = await user.publisher().ready()
        assert (await tool_server(broker, "files"))["description"] == "the desk's files" and notes(tmp_path, "starts") == []

        tools = await broker.broker.app[TOOLBOXES].open(SERVERS, b'{"tools": ["desk.add"]}', "local")
        assert [spec["function"]["name"] for spec in tools.specs] == ["desk__add"]
        assert await said(broker, "add", a=2, b=3) == "5" and len(notes(tmp_path, "starts")) == 1
        row = (await user.status())["rows"][0]
        assert (row["name"], row["type"], row["state"]) == ("_tools/files", "mcp", "active")
        assert "_tools/files" in (await user.verb("status")).out

        await asyncio.gather(*(said(broker, "add", a=n, b=n) for n in range(20)))
        os.kill(int(notes(tmp_path, "starts")[0]), signal.SIGKILL)
        await publisher.said("was ended by SIGKILL")
        assert await said(broker, "add", a=1, b=1) == "2"
        pid = notes(tmp_path, "starts")[1]
        publisher.terminate()
        assert await publisher.ended() == 0 and not lives(pid)
        assert (await tool_server(broker, "files"))["status"] == "inactive"
        assert "is offline: its publisher is away" in await said(broker, "add", a=1, b=1)


@pytest.mark.limit_s(90)
async def test_a_call_that_is_given_up_is_stopped_at_the_program(stage, user, redis_real, tmp_path):
    async with replica(redis_real) as broker:
        user.write_whole({"broker": broker.url, "tools": [files(tmp_path)]})
        await user.publisher().ready()
        await said(broker, "add", a=1, b=1)
        calling = asyncio.create_task(said(broker, "wait", seconds=1.0))
        await eventually(lambda: notes(tmp_path, "began"))
        calling.cancel()
        await asyncio.wait([calling])
        assert await said(broker, "wait", seconds=1.5) == "waited"
        assert notes(tmp_path, "done") == ["1.5"] and len(notes(tmp_path, "starts")) == 1


@pytest.mark.limit_s(90)
async def test_a_program_that_ends_with_a_killed_publisher_is_not_left_behind(stage, user, redis_real, tmp_path):
    async with replica(redis_real) as broker:
        user.write_whole({"broker": broker.url, "tools": [files(tmp_path)]})
        publisher = await user.publisher().ready()
        await said(broker, "add", a=1, b=1)
        pid = notes(tmp_path, "starts")[0]
        publisher.kill()
        await eventually(lambda: not lives(pid))


@pytest.mark.limit_s(90)
async def test_tool_servers_come_and_go_by_an_edit_and_what_runs_does_not_notice(stage, user, redis_real, tmp_path):
    async with Backend() as backend, replica(redis_real) as broker:
        user.write(broker.url, entry(backend), tools=[files(tmp_path)])
        publisher = await user.publisher().ready()
        await said(broker, "add", a=1, b=1)
        calling = asyncio.create_task(said(broker, "wait", seconds=2.0))
        await eventually(lambda: notes(tmp_path, "began"))
        user.write(broker.url, entry(backend), tools=[files(tmp_path), files(tmp_path, name="more")])
        await publisher.said("config read again")

        async def come():
            return await tool_server(broker, "more")

        await eventually(come)
        assert await calling == "waited" and len(notes(tmp_path, "starts")) == 1
        user.write(broker.url, entry(backend))

        async def gone():
            return await tool_server(broker, "files") is None

        await eventually(gone)
        await eventually(lambda: not lives(notes(tmp_path, "starts")[0]))
        assert (await broker.chat("m"))[0] == 200 and publisher.log().count("channel open") == 1


async def test_check_and_logs_know_tool_servers(stage, user, redis_real, tmp_path):
    async with replica(redis_real) as broker:
        user.write_whole({"broker": broker.url, "tools": [files(tmp_path)]})
        checked = await user.verb("check")
        assert checked.code == 0 and 'tool server "files"' in checked.out and notes(tmp_path, "starts") == []
        await user.publisher().ready()
        assert "ended before it answered" in await said(broker, "die", word="these are my last words")
        assert "these are my last words" in (await user.verb("logs", "files")).out
