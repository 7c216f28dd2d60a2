"""The official MCP SDK against a broker: its agents as tools, by the newest revision and by one with a handshake."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import httpx2
import pytest
from aiohttp import web
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.support import processes
from tests.support.backend import Backend
from tests.support.ending import end
from tests.support.mcp_servers import notebook, serving
from tests.support.places import ServerPlace
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

MODEL = "qwen/qwen3:8b"
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
def place(real_server) -> ServerPlace:
    return ServerPlace(real_server)


@pytest.fixture
def stage(place, tmp_path) -> Iterator[processes.Stage]:
    with processes.stage(tmp_path, place) as made:
        yield made


@asynccontextmanager
async def sdk(broker_url: str, mode: str = "auto", token: str | None = None) -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers=bearer(token), timeout=20) as http:
        async with Client(streamable_http_client(f"{broker_url}/mcp", http_client=http), mode=mode) as client:
            yield client


@asynccontextmanager
async def made(broker_url: str, *rows: tuple[str, dict], token: str | None = None) -> AsyncIterator[None]:
    """Rows at these paths, deleted at the end, the last first."""
    async with aiohttp.ClientSession(broker_url, headers=bearer(token)) as http:
        try:
            for path, row in rows:
                async with http.post(f"/api/v1/{path}", json=row) as answer:
                    assert answer.status == 201, await answer.text()
            yield
        finally:
            for path, row in reversed(rows):
                await http.delete(f"/api/v1/{path}/{row['name']}")


def agent(name: str, llm: str = MODEL, **fields) -> tuple[str, dict]:
    return "agents", {"name": name, "llm": llm, **fields}


@MODES
async def test_agents_are_listed_as_tools(world, mode):
    async with made(world.broker_url, agent("poet", description="writes verse")), sdk(world.broker_url, mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert client.server_info.name == "reveille" and tools["poet"].title == "poet"
        assert tools["poet"].description == "writes verse" and tools["poet"].output_schema["required"]


@MODES
async def test_a_call_is_answered_by_the_agent(world, mode):
    async with made(world.broker_url, agent("poet")), sdk(world.broker_url, mode) as client:
        result = await client.call_tool("poet", {"message": "hello"})
        assert not result.is_error and result.content[0].text == "tök€n0 tök€n1 tök€n2 "
        assert result.structured_content["agent"] == "poet" and result.structured_content["usage"]["total_tokens"] == 4


@MODES
@pytest.mark.parametrize(("llm", "reason"), [("refusing", "scripted"), ("asleep", "wake_failed")])
async def test_a_call_that_fails_is_a_result_with_the_reason(world, mode, llm, reason):
    async with made(world.broker_url, agent("poor", llm)), sdk(world.broker_url, mode) as client:
        result = await client.call_tool("poor", {"message": "hello"})
        assert result.is_error and reason in result.content[0].text


@MODES
async def test_a_tool_that_there_is_not_is_an_error(world, mode):
    async with sdk(world.broker_url, mode) as client:
        with pytest.raises(MCPError, match="no tool 'nobody'"):
            await client.call_tool("nobody", {"message": "hello"})


async def test_two_clients_that_count_alike_get_their_own_answers(world):
    async with (
        made(world.broker_url, agent("poet"), agent("poor", "refusing")),
        sdk(world.broker_url, "legacy") as one, sdk(world.broker_url, "legacy") as other,
    ):
        calls = [client.call_tool(tool, {"message": "hello"}) for client, tool in ((one, "poet"), (other, "poor")) * 4]
        results = await asyncio.gather(*calls)
        assert [result.is_error for result in results] == [False, True] * 4


@MODES
async def test_a_client_that_goes_away_cancels_at_the_backend(world, mode):
    async def seen() -> tuple[int, int]:
        """Requests, and how many of them were cut off."""
        async with aiohttp.ClientSession() as http, http.get(world.hanging_url.removesuffix("/v1") + "/seen") as answer:
            all_of_them = (await answer.json())["seen"]
            return len(all_of_them), sum(one["aborted"] for one in all_of_them)

    requests, aborted = await seen()

    async def asks() -> None:
        async with sdk(world.broker_url, mode) as client:
            await client.call_tool("stuck", {"message": "hello"})

    async def is_asked() -> bool:
        return (await seen())[0] > requests

    async def is_cut_off() -> bool:
        return (await seen())[1] > aborted

    async with made(world.broker_url, agent("stuck", "hanging", defaultParams={"script": {"hang": "head"}})):
        asking = asyncio.create_task(asks())
        await eventually(is_asked)
        asking.cancel()
        await asyncio.wait([asking])
        await eventually(is_cut_off)


@MODES
async def test_without_a_token_nothing_is_told_and_with_one_all_is(place, stage, mode):
    async with tokens(place, app="client", pub="publisher") as given:
        broker = await stage.broker().ready()
        for token, reason in ((None, "valid token"), (given.pub, "role 'client'")):
            with pytest.RaisesGroup(pytest.RaisesExc(MCPError, match=reason), flatten_subgroups=True, allow_unwrapped=True):
                async with sdk(broker.url, mode, token) as client:
                    await client.list_tools()
        async with made(broker.url, ("agents", {"name": "poet", "model": "x"}), token=given.app):
            async with sdk(broker.url, mode, given.app) as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == ["poet"]


@MODES
async def test_a_call_wakes_the_llm_and_hears_of_it_meanwhile(stage, mode):
    async def wake(_: web.Request) -> web.Response:
        await eventually(lambda: len(heard.messages) > 1)
        backend.up = True
        return web.Response()

    heard = Heard()
    async with Backend(up=False) as backend, serving_posts(wake) as recipe:
        broker = await stage.broker(comment_first_seconds=0.1, comment_every_seconds=0.1).ready()
        await stage.publisher(broker.url, {"name": "m", "url": backend.url, "wake": {"type": "http", "url": recipe}}).ready()
        async with made(broker.url, agent("poet", "m")), sdk(broker.url, mode) as client:
            result = await client.call_tool("poet", {"message": "hello"}, progress_callback=heard)
            assert not result.is_error and heard.messages[0] == "waiting for the agent"


@MODES
@pytest.mark.parametrize("on_a_thread", [False, True])
async def test_an_agent_uses_its_own_tools_on_the_way(stage, mode, on_a_thread):
    asked: list[dict] = []

    async def chat(request: web.Request) -> web.Response:
        """Calls the tool that adds, and then says what it gave."""
        asked.append(await request.json())
        last = asked[-1]["messages"][-1]
        said = {"role": "assistant", "content": f"it is {last['content']}"}
        if last["role"] == "user":
            function = {"name": "notes__add", "arguments": json.dumps({"a": 2, "b": 3})}
            said = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return web.json_response({"model": "x", "usage": usage, "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})

    heard = Heard()
    async with serving(notebook()) as notes, serving_posts(chat) as llm_url:
        broker = await stage.broker(upstream_allow="127.0.0.0/8").ready()
        rows = (
            ("projects", {"name": "p", "mcpServers": [{"name": "notes", "url": notes.url}]}),
            ("llms", {"name": "gpt", "url": llm_url}), agent("clerk", "gpt", project="p"),
        )
        async with made(broker.url, *rows), sdk(broker.url, mode) as client:
            more = {"thread": await thread_with(broker.url, "clerk")} if on_a_thread else {}
            result = await client.call_tool("clerk", {"message": "2 + 3?", **more}, progress_callback=heard)
            assert result.structured_content.get("thread") == more.get("thread")
            assert result.content[0].text == "it is 5" and not result.is_error
            assert result.structured_content["usage"]["total_tokens"] == 4
            assert "the agent calls notes__add" in heard.messages
            assert "notes__add" in {tool["function"]["name"] for tool in asked[0]["tools"]}


async def thread_with(broker_url: str, agent: str) -> str:
    async with aiohttp.ClientSession() as http, http.post(f"{broker_url}/api/v1/agents/{agent}/threads", json={}) as answer:
        return (await answer.json())["id"]


class Heard:
    """What a client hears while it waits."""

    def __init__(self) -> None:
        self.messages: list[str | None] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.messages.append(message)


@asynccontextmanager
async def serving_posts(answer) -> AsyncIterator[str]:
    """The address of a server that answers every POST with that handler."""
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await end(runner)
