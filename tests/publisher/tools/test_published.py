"""A publisher with tool servers: what it registers, how it takes their tasks, and what a reload does to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from broker import wire
from publisher.config.values import BrokerAddress, Config, Provider
from publisher.config.values import ToolServer
from publisher.life import Publisher
from publisher.link.session import SessionFile
from publisher.tools import tool_servers
from tests.publisher.config.shown import ROOT
from tests.publisher.running import SHORT, play
from tests.publisher.tools.serving import LIST, call, lives, notes, program
from tests.support.backend import Backend
from tests.support.fake_broker import FakeBroker, Told
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@contextlib.asynccontextmanager
async def published(folder, *tools: ToolServer, heartbeat_s: float = 30.0, **more: object):
    """A fake broker, and a publisher of those tool servers and of what else the config says."""
    async with FakeBroker(heartbeat_s) as broker:
        config = Config((BrokerAddress(broker.url),), tools=tools, **more)
        publisher = Publisher(config, lambda _: SessionFile(folder / "session.json"), SHORT)
        running = asyncio.create_task(publisher.run())
        try:
            await broker.ready()
            yield broker, publisher, config
        finally:
            publisher.stop()
            publisher.stop()
            async with asyncio.timeout(10):
                await asyncio.wait([running])


async def answered(broker: FakeBroker, request: dict, server: str = "files", **more: object) -> dict:
    """The last frame of a task for that tool server."""
    return (await broker.ended(await broker.infer(request, llm=f"_tools/{server}", operation="mcp", **more), 20)).last


def test_tool_servers_alone_are_enough_to_publish_and_are_heartbeat(tmp_path):
    async def test():
        told = program(tmp_path, description="d", slots=2)
        async with published(tmp_path, told, heartbeat_s=0.02) as (broker, publisher, _):
            assert broker.registrations[0]["toolServers"] == [{"name": "files", "description": "d", "slots": 2}]
            assert broker.registrations[0]["providers"] == [] == broker.registrations[0]["agents"]
            await broker.until(lambda: broker.calls.count("heartbeat") > 1)
            publisher.stop()
            await broker.until(lambda: "goodbye" in broker.calls)
        assert notes(tmp_path, "starts") == []

    play(test())


def test_a_frame_of_a_tool_server_is_answered_by_its_program(tmp_path):
    async def test():
        async with published(tmp_path, program(tmp_path)) as (broker, publisher, _):
            listed = await answered(broker, LIST)
            assert listed["status"] == 200 and listed["headers"] == {"content-type": "application/json"}
            assert "add" in {tool["name"] for tool in json.loads(listed["body"])["tools"]}
            result = json.loads((await answered(broker, call("add", a=2, b=3)))["body"])
            assert result["content"][0]["text"] == "5"
            row = publisher.status().rows[0]
            assert (row.name, row.type, row.state, row.requests, row.failed) == ("_tools/files", "mcp", "active", 2, 0)
            pid = notes(tmp_path, "starts")[0]
            assert lives(pid)
        assert not lives(pid)

    play(test())


def test_a_failure_of_the_tool_server_is_an_answer_with_its_reason(tmp_path):
    async def test():
        async with published(tmp_path, replace(program(tmp_path), command="/no/such")) as (broker, publisher, _):
            last = await answered(broker, LIST)
            assert last["status"] == 502
            message = json.loads(last["body"])["error"]["message"]
            assert message == 'the tool server "files" cannot be started: see the log of its publisher'
            row = publisher.status().rows[0]
            assert row.failed == 1 and row.last_error == message

    play(test())


def test_a_tool_servers_own_words_reach_the_caller_and_no_log_or_status(tmp_path, caplog):
    refuses = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        answer = {"result": {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}}
    else:
        answer = {"error": {"code": -32602, "message": "no letter \\u001b[2J to Ann"}}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), flush=True)
"""

    async def test():
        async with published(tmp_path, replace(program(tmp_path), args=("-c", refuses))) as (broker, publisher, _):
            last = await answered(broker, LIST)
            assert last["status"] == 400 and "refused the call (no letter" in json.loads(last["body"])["error"]["message"]
            assert publisher.status().rows[0].last_error == 'the tool server "files" refused the call'

    play(test())
    assert "Ann" not in caplog.text


def test_what_is_no_call_of_a_tool_is_refused_and_starts_nothing(tmp_path):
    async def test():
        async with published(tmp_path, program(tmp_path)) as (broker, _, __):
            for frame in (dict(operation="chat"), dict(operation="embeddings")):
                told = await broker.ended(await broker.infer(LIST, llm="_tools/files", **frame))
                assert told.last["code"] == "unsupported_operation"
            for kind in ("wake", "sleep"):
                assert (await broker.ended(await broker.order(kind, llm="_tools/files"))).last["code"] == "unsupported_operation"
            unknown = await answered(broker, LIST, server="others")
            assert unknown["code"] == "not_published"
            assert notes(tmp_path, "starts") == []

    play(test())


def test_an_llm_takes_no_call_of_a_tool(tmp_path):
    async def test():
        async with Backend() as backend:
            provider = Provider("m", backend.url, "real")
            async with published(tmp_path, providers=(provider,)) as (broker, _, __):
                told = await broker.ended(await broker.infer(LIST, operation="mcp"))
                assert told.last["error"] == 'this publisher does not know the operation "mcp": update it'

    play(test())


def test_a_request_too_large_for_its_frame_is_fetched(tmp_path):
    async def test():
        async with published(tmp_path, program(tmp_path)) as (broker, _, __):
            broker.requests["big"] = json.dumps(call("add", a=2, b=3)).encode()
            told = broker.tasks["big"] = Told()
            url = "/api/v1/llms/_provider-task/big/request"
            await broker.send(kind="infer", taskId="big", llmName="_tools/files", operation="mcp", requestUrl=url, deadlineMs=60000)
            last = (await broker.ended(told, 20)).last
            assert json.loads(last["body"])["content"][0]["text"] == "5"

    play(test())


def test_a_cancel_stops_the_call_and_is_answered(tmp_path):
    async def test():
        async with published(tmp_path, program(tmp_path)) as (broker, _, __):
            told = await broker.infer(call("wait", seconds=30), llm="_tools/files", operation="mcp")
            await eventually(lambda: notes(tmp_path, "began"), limit_s=20)
            await broker.send(kind="cancel", taskId=broker.id_of(told))
            assert (await broker.ended(told)).last["code"] == "cancelled"
            assert (await answered(broker, LIST))["status"] == 200 and notes(tmp_path, "done") == []

    play(test())


def test_no_more_calls_at_once_than_its_slots(tmp_path):
    async def test():
        async with published(tmp_path, program(tmp_path, slots=1)) as (broker, publisher, _):
            first = await broker.infer(call("wait", seconds=0.3), llm="_tools/files", operation="mcp")
            second = await broker.infer(call("wait", seconds=0.2), llm="_tools/files", operation="mcp")
            await eventually(lambda: notes(tmp_path, "began"), limit_s=20)
            row = publisher.status().rows[0]
            assert (row.running, row.waiting) == (1, 1)
            await broker.ended(first)
            await broker.ended(second)
            assert notes(tmp_path, "done") == ["0.3", "0.2"]

    play(test())


def test_a_reload_leaves_an_unchanged_one_running_and_takes_the_others(tmp_path):
    async def test():
        gone = replace(program(tmp_path), name="gone")
        async with published(tmp_path, program(tmp_path), gone) as (broker, publisher, config):
            await answered(broker, LIST)
            await answered(broker, LIST, server="gone")
            kept, dropped = notes(tmp_path, "starts")
            new = replace(program(tmp_path), name="new")
            await publisher.apply(replace(config, tools=(program(tmp_path), new)))
            await broker.until(lambda: len(broker.registrations) > 1)
            assert [tool["name"] for tool in broker.registrations[-1]["toolServers"]] == ["files", "new"]
            await eventually(lambda: not lives(dropped), limit_s=10)
            assert (await answered(broker, LIST))["status"] == 200 and lives(kept)
            assert (await answered(broker, LIST, server="gone"))["code"] == "not_published"

    play(test())


def test_tool_servers_may_come_by_a_reload_while_a_pattern_waits_for_its_first_model(tmp_path):
    async def test():
        from publisher.config.values import Pattern

        async with FakeBroker() as broker:
            provider = Provider("{model}", "http://127.0.0.1:9/v1", patterns=(Pattern("*"),))
            config = Config((BrokerAddress(broker.url),), (provider,))
            publisher = Publisher(config, lambda _: SessionFile(tmp_path / "session.json"), SHORT)
            running = asyncio.create_task(publisher.run())
            await eventually(lambda: list(publisher.links))
            assert broker.registrations == []
            await publisher.apply(replace(config, tools=(program(tmp_path),)))
            await broker.ready()
            assert broker.registrations[0]["toolServers"][0]["name"] == "files"
            publisher.stop()
            await running

    play(test())


def test_agents_wait_for_llms_only_where_some_are_configured(tmp_path):
    async def test():
        agents = (wire.AgentEntry("bot", "elsewhere"),)
        async with published(tmp_path, program(tmp_path), agents=agents) as (broker, _, __):
            assert [agent["name"] for agent in broker.registrations[0]["agents"]] == ["bot"]

    play(test())


def test_without_the_sdk_none_is_published_and_it_is_said_what_is_missing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tool_servers, "sdk_is_here", lambda: False)

    async def test():
        async with Backend() as backend:
            provider = Provider("m", backend.url, "real")
            async with published(tmp_path, program(tmp_path), providers=(provider,)) as (broker, publisher, _):
                assert broker.registrations[0]["toolServers"] == []
                assert [row.name for row in publisher.status().rows] == ["m"]

    play(test())
    assert "pip install 'reveille[agents]'" in caplog.text


def test_a_publisher_without_a_call_of_a_tool_loads_nothing_of_it():
    """Neither the SDK, nor, without tool servers, what would run them."""
    looked = (
        "import sys, publisher.life, publisher.cli.running; found = {name.split('.')[0] for name in sys.modules}; "
        "print(found & {'mcp', 'anyio', 'pydantic', 'httpx2'}, "
        "sorted(name for name in sys.modules if name.startswith('publisher.tools.')))"
    )
    done = subprocess.run([sys.executable, "-c", looked], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout == "set() ['publisher.tools.installed', 'publisher.tools.tool_servers']\n", done.stderr
