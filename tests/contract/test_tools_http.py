"""Tool servers by HTTP, as an agent's LLM gets them: real ones of both generations of MCP, keys, limits, addresses."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from tests.support.brokers import Replica, replica
from tests.support.mcp_servers import handmade, notebook, result, serving, tool
from tests.support.public import HERE, OTHER_KEY, SECRETS, put_secret
from tests.support.waiting import eventually
from tests.unit.test_upstream_guard import resolving


def servers(url: str = "", name: str = "notes", **fields) -> bytes:
    """What a project has of one tool server."""
    return json.dumps([{"name": name, "url": url, **fields}]).encode()


async def opened(broker: Replica, listed: bytes, extras: bytes = b"{}"):
    return await broker.broker.toolboxes.open(listed, extras, "local")


def names(tools) -> list[str]:
    return [spec["function"]["name"] for spec in tools.specs]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("json_response", [False, True])
async def test_the_tools_of_a_server_are_listed_and_called(redis_real, legacy, json_response):
    async with replica(redis_real, **HERE) as broker, serving(notebook(), legacy=legacy, json_response=json_response) as server:
        tools = await opened(broker, servers(server.url))
        assert names(tools) == ["notes__add", "notes__say", "notes__fail", "notes__image", "notes__sleep"] and not tools.warnings
        add = tools.specs[0]
        assert add["type"] == "function" and add["function"]["description"] == "Adds two numbers."
        assert add["function"]["parameters"]["required"] == ["a", "b"]
        assert tools.has("notes__add") and not tools.has("add")
        assert await tools.call("notes__add", '{"a": 1, "b": 2}', "req_1") == ("3", False)
        assert await tools.call("notes__image", "", "req_1") == ("[image: image/png, 400 bytes, not shown]", False)
        content, is_error = await tools.call("notes__fail", "{}", "req_1")
        assert is_error and "fail" in content
        content, is_error = await tools.call("notes__add", '{"a": "x"}', "req_1")
        assert is_error and "validation error" in content


async def test_a_session_with_an_older_server_is_closed_after_each_call(redis_real):
    async with replica(redis_real, **HERE) as broker, serving(notebook(), legacy=True) as server:
        tools = await opened(broker, servers(server.url))
        await eventually(lambda: "DELETE" in server.methods())
        server.seen.clear()
        assert (await tools.call("notes__add", '{"a": 1, "b": 2}', "req_1")).content == "3"
        await eventually(lambda: "DELETE" in server.methods())
        # What is spoken there is known by now; and nobody listens for what a server says unasked.
        assert server.methods() == ["POST", "POST", "POST", "DELETE"]


@pytest.mark.parametrize(("fields", "header", "value"), [({}, "authorization", "Bearer k-123"), ({"apiKeyHeader": "X-Key"}, "x-key", "k-123")])
async def test_a_server_gets_the_secret_that_the_project_names(redis_at, fields, header, value):
    async with replica(redis_at, **HERE) as broker, serving(notebook()) as server:
        await put_secret(broker, "notes-key", "k-123")
        tools = await opened(broker, servers(server.url, apiKeyRef="notes-key", **fields))
        assert tools.specs and all(headers[header] == value for _, headers in server.seen)
        await put_secret(broker, "notes-key", "k-456")
        server.seen.clear()
        assert (await tools.call("notes__add", '{"a": 1, "b": 2}', "req_1")).content == "3"
        assert all(headers[header] == value.replace("123", "456") for _, headers in server.seen)


async def test_a_server_whose_secret_is_missing_or_unreadable_is_not_called(redis_at):
    async with handmade([tool("x")]) as server:
        listed = servers(server.url, apiKeyRef="notes-key")
        async with replica(redis_at, **HERE) as broker:
            tools = await opened(broker, listed)
            assert not tools.specs and "no secret 'notes-key'" in tools.warnings[0]
            await put_secret(broker, "notes-key", "k-123")
        async with replica(redis_at, **{**HERE, "secret_key": OTHER_KEY}) as broker:
            tools = await opened(broker, listed)
            assert not tools.specs and "BROKER_SECRET_KEY" in tools.warnings[0]
            await broker.call("DELETE", f"{SECRETS}/notes-key")
        assert not server.seen


async def test_a_key_that_a_server_repeats_is_in_no_answer_and_no_warning(redis_real, caplog):
    async def call(request, asked):
        return result(asked, {"content": [{"type": "text", "text": f"you sent {request.headers['Authorization']}"}], "structuredContent": {"k": ["k-123"]}})

    listed = [tool("x", description="for k-123")]
    async with replica(redis_real, **HERE) as broker, handmade(listed, call=call) as server:
        await put_secret(broker, "notes-key", "k-123")
        tools = await opened(broker, servers(server.url, apiKeyRef="notes-key"))
        assert tools.specs[0]["function"]["description"] == "for ***"
        assert await tools.call("notes__x", "{}", "req_1") == ("you sent Bearer ***", False)
    assert "k-123" not in caplog.text


async def test_only_allowed_tools_are_listed_and_a_server_without_any_is_not_asked(redis_real):
    async with replica(redis_real, **HERE) as broker, serving(notebook()) as server:
        listed = json.dumps([{"name": "notes", "url": server.url, "tools": ["add", "say", "sleep"]}, {"name": "more", "url": server.url}]).encode()
        tools = await opened(broker, listed, b'{"tools": ["notes.s*", "more.add"], "other": 1}')
        assert names(tools) == ["notes__say", "notes__sleep", "more__add"] and not tools.warnings
        assert (await tools.call("notes__add", '{"a": 1, "b": 1}', "req_1")).is_error
        server.seen.clear()
        tools = await opened(broker, listed, b'{"tools": ["nothere", "more.?dd"]}')
        assert names(tools) == ["more__add"] and "'nothere'" in tools.warnings[0]
        assert not server.seen
        assert not (await opened(broker, listed, b'{"tools": []}')).specs
        assert not (await opened(broker, servers(server.url, name="none", tools=[]))).specs
        tools = await opened(broker, listed, b'{"tools": "notes"}')
        assert not tools.specs and "extras.tools" in tools.warnings[0]


async def test_what_a_server_offers_is_asked_once_a_minute_by_one_and_again_after_an_error(redis_real):
    async with replica(redis_real, **HERE) as broker, handmade([tool("x")]) as server:
        opening = (opened(broker, servers(server.url)) for _ in range(5))
        assert all(names(tools) == ["notes__x"] for tools in await asyncio.gather(*opening))
        tools = await opened(broker, servers(server.url))
        assert server.asked.count("tools/list") == 1 and names(tools) == ["notes__x"]
        assert (await tools.call("notes__x", "{}", "req_1")).is_error
        await opened(broker, servers(server.url))
        assert server.asked.count("tools/list") == 2


@pytest.mark.parametrize("arguments", ["[]", "1", "nonsense", '{"a": ', '{"a": NaN}', "[" * 50_000])
async def test_arguments_that_are_no_json_object_are_told_to_the_llm(redis_real, arguments):
    async with replica(redis_real, **HERE) as broker, handmade([tool("x")]) as server:
        tools = await opened(broker, servers(server.url))
        content, is_error = await tools.call("notes__x", arguments, "req_1")
        assert is_error and "not a JSON object" in content


async def test_a_tool_that_hangs_is_stopped_at_its_limit(redis_real):
    gone = asyncio.Event()

    async def call(request, asked):
        try:
            await asyncio.sleep(60)
        finally:
            gone.set()

    async with replica(redis_real, **HERE, tool_seconds=30) as broker, handmade([tool("x")], call=call) as server:
        tools = await opened(broker, servers(server.url, timeoutSeconds=0.5))
        content, is_error = await tools.call("notes__x", "{}", "req_1")
        assert is_error and "did not answer within 0.5 s" in content and "'notes'" in content
        async with asyncio.timeout(10):
            await gone.wait()


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_call_that_is_cancelled_ends_at_once(redis_real, legacy):
    async with replica(redis_real, **HERE) as broker, serving(notebook(), legacy=legacy) as server:
        tools = await opened(broker, servers(server.url))
        server.seen.clear()
        call = asyncio.create_task(tools.call("notes__sleep", '{"seconds": 60}', "req_1"))
        await eventually(lambda: server.methods().count("POST") >= (3 if legacy else 1))
        call.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await call


async def test_a_broker_that_shuts_down_does_not_wait_for_a_tool(redis_real):
    async with handmade([tool("x")], call=lambda *_: asyncio.sleep(60)) as server:
        async with replica(redis_real, **HERE) as broker:
            tools = await opened(broker, servers(server.url))
            call = asyncio.create_task(tools.call("notes__x", "{}", "req_1"))
            await eventually(lambda: len(server.seen) >= 5)
        async with asyncio.timeout(20):
            assert (await call).is_error


async def test_a_long_result_is_cut_and_says_how_much_is_missing(redis_real):
    async with replica(redis_real, **HERE, tool_result_bytes=1000) as broker, serving(notebook()) as server:
        tools = await opened(broker, servers(server.url))
        content, is_error = await tools.call("notes__say", '{"text": "é", "times": 1000}', "req_1")
        assert not is_error and content.startswith("é" * 500 + "\n") and "1,000 of 2,000 bytes are missing" in content


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_an_internal_address_is_not_called(redis_real, host):
    async with replica(redis_real) as broker, handmade([tool("x")]) as server:
        tools = await opened(broker, servers(server.url.replace("127.0.0.1", host)))
        assert not tools.specs and "internal address" in tools.warnings[0] and "BROKER_UPSTREAM_ALLOW" in tools.warnings[0]
        assert not server.seen


async def test_a_name_that_leads_inside_is_not_called_unless_the_setting_names_it(redis_real, monkeypatch):
    async with handmade([tool("x")]) as server:
        listed = servers(server.url.replace("127.0.0.1", "tools.example"))
        async with replica(redis_real) as broker:
            resolving(monkeypatch, tools_example=["127.0.0.1"])
            assert not (await opened(broker, listed)).specs and not server.seen
        async with replica(redis_real, upstream_allow="tools.example") as broker:
            assert names(await opened(broker, listed)) == ["notes__x"]


async def test_a_proxy_of_the_brokers_own_environment_is_not_used(redis_real, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with replica(redis_real, **HERE) as broker, serving(notebook()) as server:
        assert (await opened(broker, servers(server.url))).specs


async def test_without_the_extra_a_server_is_a_warning_that_says_what_to_install(redis_real, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp.client", None)
    monkeypatch.delitem(sys.modules, "broker.tools.mcp_session", raising=False)
    async with replica(redis_real, **HERE) as broker, handmade([tool("x")]) as server:
        tools = await opened(broker, servers(server.url))
        assert not tools.specs and "pip install 'reveille[agents]'" in tools.warnings[0] and not server.seen


@pytest.mark.parametrize("listed", [b"[]", b""])
async def test_a_project_without_servers_has_no_tools_and_costs_nothing(redis_real, listed):
    async with replica(redis_real) as broker:
        opening = broker.broker.toolboxes.open(listed, b"{}", "local")
        with pytest.raises(StopIteration) as ended:
            opening.send(None)
        tools = ended.value.value
        assert not tools.specs and not tools.warnings
        assert (await tools.call("x__y", "{}", "req_1")).is_error
