"""Tools of servers that publishers hold: listed and called as tasks, within the same limits as those by HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from tests.contract.test_tools_http import names
from tests.support.brokers import replica
from tests.support.mcp_servers import tool
from tests.support.tool_servers import ToolProvider

FILES = json.dumps([{"name": "disk", "toolServer": "files"}]).encode()


@asynccontextmanager
async def opened(broker, provider, tools: object, listed: bytes = FILES):
    """The tools, when the publisher answers the listing with these."""
    opening = asyncio.create_task(broker.broker.toolboxes.open(listed, b"{}", "local"))
    frame = await provider.next()
    assert frame["request"] == {"method": "tools/list"} and frame["operation"] == "mcp" and frame["llmName"] == "_tools/files"
    await provider.answer(frame, tools)
    yield await opening


async def test_a_publishers_tools_are_listed_and_called(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        async with opened(broker, provider, {"tools": [tool("read"), tool("write")]}) as tools:
            assert names(tools) == ["disk__read", "disk__write"] and not tools.warnings
            call = asyncio.create_task(tools.call("disk__read", '{"path": "/é", "n": 12345678901234567}', "req_7"))
            frame = await provider.next()
            assert frame["request"] == {"method": "tools/call", "params": {"name": "read", "arguments": {"path": "/é", "n": 12345678901234567}}}
            assert frame["taskId"].startswith("req_7_") and 0 < frame["deadlineMs"] <= 31_000
            await provider.answer(frame, {"content": [{"type": "text", "text": "hello"}]})
            assert await call == ("hello", False)


async def test_several_calls_of_one_answer_run_at_once(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        async with opened(broker, provider, {"tools": [tool("read")]}) as tools:
            calls = [asyncio.create_task(tools.call("disk__read", json.dumps({"n": n}), "req_7")) for n in range(3)]
            frames = [await provider.next() for _ in calls]
            for frame in reversed(frames):
                n = frame["request"]["params"]["arguments"]["n"]
                await provider.answer(frame, {"content": [{"type": "text", "text": str(n)}], "isError": n == 1})
            assert await asyncio.gather(*calls) == [("0", False), ("1", True), ("2", False)]


async def test_a_tool_server_that_nobody_has_or_whose_publisher_is_away_is_a_warning(redis_at):
    async with replica(redis_at) as broker:
        tools = await broker.broker.toolboxes.open(FILES, b"{}", "local")
        assert not tools.specs and "no publisher has a tool server 'files'" in tools.warnings[0]
        async with ToolProvider(broker, "files", connect=False):
            tools = await broker.broker.toolboxes.open(FILES, b"{}", "local")
            assert not tools.specs and "'disk' is offline" in tools.warnings[0]


async def test_a_publisher_that_leaves_during_a_call_is_an_answer(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        async with opened(broker, provider, {"tools": [tool("read")]}) as tools:
            call = asyncio.create_task(tools.call("disk__read", "{}", "req_7"))
            await provider.next()
            await provider.close()
            content, is_error = await call
            assert is_error and "'disk'" in content and "offline" in content


async def test_a_publishers_error_is_told(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        async with opened(broker, provider, {"tools": [tool("read")]}) as tools:
            for answer in (
                lambda frame: provider.answer(frame, {"error": {"message": "the server does not start"}}, status=502),
                lambda frame: provider.fail(frame, "the server does not start"),
            ):
                call = asyncio.create_task(tools.call("disk__read", "{}", "req_7"))
                await answer(await provider.next())
                assert await call == ("The tool server 'disk' gave no answer (the server does not start).", True)


@pytest.mark.parametrize(
    "answer", [[], "text", {"content": "text"}, {"content": [None, 1, {"type": None}]}, {"content": [{"type": "text", "text": 5}]}, {}]
)
async def test_a_result_of_any_shape_is_an_answer(redis_real, answer):
    async with replica(redis_real) as broker, ToolProvider(broker, "files") as provider:
        async with opened(broker, provider, {"tools": [tool("read")]}) as tools:
            call = asyncio.create_task(tools.call("disk__read", "{}", "req_7"))
            frame = await provider.next()
            await provider.result(frame, {"status": 200, "body": answer})
            content, _ = await call
            assert content


@pytest.mark.parametrize("listed", [{}, {"tools": "x"}, {"tools": [1, None, {}]}, {"tools": [{"name": "bad"}]}])
async def test_a_list_of_any_shape_is_a_warning(redis_real, listed):
    async with replica(redis_real) as broker, ToolProvider(broker, "files") as provider, opened(broker, provider, listed) as tools:
        assert not tools.specs and tools.warnings and "'disk'" in tools.warnings[0]


async def test_only_the_bad_tool_of_a_publisher_is_left_out(redis_real):
    bad = [tool("a", inputSchema={"type": "array"}), tool("b", inputSchema={"properties": {"x": 5}})]
    async with replica(redis_real) as broker, ToolProvider(broker, "files") as provider:
        async with opened(broker, provider, {"tools": [*bad, tool("read", inputSchema={})]}) as tools:
            assert names(tools) == ["disk__read"] and len(tools.warnings) == 2
            assert tools.specs[0]["function"]["parameters"] == {"type": "object", "properties": {}}


async def test_of_a_list_without_end_the_first_tools_count(redis_real):
    listed = {"tools": [{"name": f"t{number}", "inputSchema": {}} for number in range(6000)]}
    async with replica(redis_real) as broker, ToolProvider(broker, "files") as provider, opened(broker, provider, listed) as tools:
        assert len(tools.specs) == 128 and "it lists 6,000 tools; the first 5,000 count" in tools.warnings[0]


async def test_a_call_that_takes_too_long_is_stopped_at_the_publisher(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        listed = json.dumps([{"name": "disk", "toolServer": "files", "timeoutSeconds": 0.5}]).encode()
        async with opened(broker, provider, {"tools": [tool("read")]}, listed) as tools:
            call = asyncio.create_task(tools.call("disk__read", "{}", "req_7"))
            frame = await provider.next()
            assert frame["deadlineMs"] <= 1500
            content, is_error = await call
            assert is_error and "did not answer within 0.5 s" in content
            assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
            await provider.fail(frame, "stopped")


async def test_a_call_whose_caller_leaves_is_cancelled_at_the_publisher(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        async with opened(broker, provider, {"tools": [tool("read")]}) as tools:
            call = asyncio.create_task(tools.call("disk__read", "{}", "req_7"))
            frame = await provider.next()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
            await provider.fail(frame, "stopped")


async def test_an_answer_of_many_megabytes_is_not_kept(redis_real):
    async with replica(redis_real) as broker, ToolProvider(broker, "files") as provider:
        async with opened(broker, provider, {"tools": [tool("read")]}) as tools:
            call = asyncio.create_task(tools.call("disk__read", "{}", "req_7"))
            frame = await provider.next()
            await provider.answer(frame, {"content": [{"type": "text", "text": "x" * (5 << 20)}]})
            content, is_error = await call
            assert is_error and "more than 4 MiB" in content
