"""A tool server that runs already, at an address of this machine: asked by HTTP, never started."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from aiohttp import web
from mcp.server.mcpserver import MCPServer

from publisher.config.values import ToolServer as Told
from publisher.tools import connection
from publisher.tools.failed import ToolFailed
from tests.publisher.tools.serving import LIST, ask, call, said, serving
from tests.support import mcp_servers
from tests.support.backend import Backend
from tests.support.waiting import eventually


def at(url: str, **more: object) -> Told:
    return Told("notes", url=url, **{"timeout_s": 20.0, **more})


@pytest.mark.parametrize("legacy", [False, True])
async def test_its_tools_are_listed_and_called(legacy):
    async with mcp_servers.serving(mcp_servers.notebook(), legacy=legacy) as there, serving(at(there.url)) as server:
        assert server.state == "hibernating" and there.seen == []
        assert "add" in {tool["name"] for tool in (await ask(server, LIST))["tools"]}
        assert await said(server, "add", a=1, b=2) == "3"
        assert await asyncio.gather(*(said(server, "say", text=f"{n}") for n in range(5))) == ["0", "1", "2", "3", "4"]
        assert server.state == "active" and (await ask(server, call("fail")))["isError"] is True


async def test_the_environments_proxies_are_not_for_it(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with mcp_servers.serving(mcp_servers.notebook()) as there, serving(at(there.url)) as server:
        assert await said(server, "add", a=1, b=2) == "3"


async def test_one_that_is_not_there_is_an_error_and_asked_again_by_the_next_call():
    async with mcp_servers.serving(mcp_servers.notebook()) as there:
        url = there.url
    async with serving(at(url)) as server:
        with pytest.raises(ToolFailed, match="is not reached") as told:
            await ask(server, LIST)
        assert told.value.status == 502 and server.state == "hibernating"


async def test_the_connection_is_closed_when_nobody_asks_for_a_while_and_opened_again():
    async with mcp_servers.serving(mcp_servers.notebook()) as there, serving(at(there.url, idle_s=0.1)) as server:
        assert await said(server, "add", a=1, b=2) == "3"
        await eventually(lambda: server.state == "hibernating")
        assert await said(server, "add", a=1, b=2) == "3"


async def test_a_call_that_takes_too_long_says_so_and_the_next_one_is_answered():
    async with mcp_servers.serving(mcp_servers.notebook()) as there, serving(at(there.url, timeout_s=0.5)) as server:
        with pytest.raises(ToolFailed) as told:
            await said(server, "sleep", seconds=30)
        assert told.value.status == 504
        await eventually(lambda: server.state == "active", limit_s=10)
        assert await said(server, "add", a=1, b=2) == "3"


@pytest.mark.parametrize("json_response", [False, True])
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(monkeypatch, json_response):
    monkeypatch.setattr(connection, "MOST_BYTES", 1 << 20)
    large = MCPServer("large")

    @large.tool(structured_output=False)
    def letters(count: int) -> str:
        return "x" * count

    async with mcp_servers.serving(large, json_response=json_response) as there, serving(at(there.url)) as server:
        assert len(await said(server, "letters", count=900_000)) == 900_000
        with pytest.raises(ToolFailed):
            await said(server, "letters", count=3_000_000)
        assert await said(server, "letters", count=2) == "xx"


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_a_compressed_answer_is_not_unpacked_for_a_small_one_may_become_gigabytes(kind):
    async def zipped(request, asked):
        body = gzip.compress(b'data: {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}\n\n')
        return web.Response(body=body, headers={"Content-Encoding": "gzip", "Content-Type": kind})

    async with mcp_servers.handmade([mcp_servers.tool("x")], call=zipped) as there, serving(at(there.url)) as server:
        await ask(server, LIST)
        with pytest.raises(ToolFailed, match='"notes" compresses its answer, though it was asked not to') as told:
            await ask(server, call("x"))
        assert told.value.status == 502 and (await ask(server, LIST))["tools"]


async def test_a_stream_of_small_events_ends_at_the_same_size(monkeypatch):
    monkeypatch.setattr(connection, "MOST_BYTES", 1 << 20)
    sent = 0

    async def chatter(request, asked):
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(b": still thinking\n\n" * 1000)
            sent += 18_000

    async with mcp_servers.handmade([mcp_servers.tool("x")], call=chatter) as there, serving(at(there.url)) as server:
        with pytest.raises(ToolFailed, match="answered more than 1 MiB and was stopped: ask for less at a time") as told:
            await ask(server, call("x"))
        assert told.value.status == 502 and sent < 20 << 20


async def test_nobody_listens_for_what_a_server_says_unasked():
    async with mcp_servers.serving(mcp_servers.notebook(), legacy=True) as there, serving(at(there.url)) as server:
        assert await said(server, "add", a=1, b=2) == "3"
        assert "GET" not in there.methods()


async def test_a_servers_refusal_is_told_on_one_line_and_its_words_are_in_no_log():
    async def refuses(request, asked):
        error = {"code": -32602, "message": "bad: the\nletter to Ann " + "x" * 3_000_000}
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "error": error})

    async with mcp_servers.handmade([mcp_servers.tool("x")], call=refuses) as there, serving(at(there.url)) as server:
        with pytest.raises(ToolFailed) as told:
            await ask(server, call("x"))
        assert told.value.status == 400 and str(told.value) == 'the tool server "notes" refused the call'
        assert "refused the call (bad: the letter to Ann xxx" in told.value.told and len(told.value.told) < 600


async def test_an_answer_that_is_no_message_is_not_repeated():
    async def nonsense(request, asked):
        return web.Response(body=b'{"the letter to Ann', content_type="application/json")

    async with mcp_servers.handmade([mcp_servers.tool("x")], call=nonsense) as there, serving(at(there.url)) as server:
        with pytest.raises(ToolFailed) as told:
            await ask(server, call("x"))
        assert told.value.told == 'the tool server "notes" answered what is not MCP'


async def test_something_else_at_the_address_is_no_tool_server():
    async with Backend() as backend, serving(at(backend.url)) as server:
        with pytest.raises(ToolFailed, match="is not reached, or does not speak MCP there"):
            await ask(server, LIST)
