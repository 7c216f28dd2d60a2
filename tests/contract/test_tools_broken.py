"""Tool servers that behave badly: whatever they do becomes a warning or an answer that names the server."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from tests.contract.test_tools_http import names, opened, servers
from tests.support.brokers import replica
from tests.support.mcp_servers import handmade, result, tool
from tests.support.public import HERE, put_secret

TEXT = {"content": [{"type": "text", "text": "fine"}]}


async def fine(request, asked):
    return result(asked, TEXT)


async def html(request, asked):
    return web.Response(text="<html>Welcome</html>", content_type="text/html")


async def elsewhere(request, asked):
    raise web.HTTPTemporaryRedirect("/other")


async def status_of(number: int, request, asked):
    return web.Response(status=number, text='{"detail": "no"}', content_type="application/json")


def always(number: int):
    return lambda request, asked: status_of(number, request, asked)


async def nonsense(request, asked):
    return web.Response(text="{{{", content_type="application/json")


async def empty(request, asked):
    return web.Response(text="", content_type="application/json")


async def no_protocol(request, asked):
    return web.json_response([1, 2, 3])


async def zipped(request, asked):
    return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


async def breaks(request, asked):
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"jsonrpc": "2.0", ')
    request.transport.abort()
    return response


async def breaks_a_stream(request, asked):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b"event: message\ndata: {")
    request.transport.abort()
    return response


async def ends_a_stream(request, asked):
    return web.Response(text=": nothing to say\n\n", content_type="text/event-stream")


async def megabytes(request, asked):
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    with_room = b'{"jsonrpc": "2.0", "id": 1, "result": {"x": "' + b"a" * (1 << 20)
    for _ in range(64):
        await response.write(with_room)
    return response


async def megabytes_as_a_stream(request, asked):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(64):
        await response.write(b"id: 1\nevent: message\ndata: " + b"a" * (1 << 20))
    return response


def nested(depth: int) -> list:
    found: list = []
    for _ in range(depth):
        found = [found]
    return found


async def hangs(request, asked):
    await asyncio.sleep(60)


WAYS = [
    (html, "text/html"), (elsewhere, "redirects (307)"), (always(401), "wants a key (401)"), (always(403), "wants a key (403)"),
    (always(404), "404"), (always(429), "429"), (always(500), "failed (500)"), (always(503), "failed (503)"), (nonsense, "not MCP"),
    (empty, "not MCP"), (no_protocol, "not MCP"), (zipped, "compresses"), (breaks, "closed the connection"),
    (breaks_a_stream, "closed the connection"), (ends_a_stream, "closed the connection"), (megabytes, "more than 4 MiB"),
    (megabytes_as_a_stream, "more than 4 MiB"), (hangs, "within 1 s"),
]
WORDS = [word for _, word in WAYS]


def patience(way) -> int:
    """Seconds: short for the one that never answers; enough for a busy machine to read past 4 MiB for the others."""
    return 1 if way is hangs else 20


@pytest.mark.parametrize(("way", "word"), WAYS, ids=[f"{number}-{word}" for number, word in enumerate(WORDS)])
async def test_a_server_that_cannot_be_listed_is_a_warning_that_says_why(redis_real, way, word):
    async with replica(redis_real, **HERE) as broker, handmade(any_request=way) as server:
        tools = await opened(broker, servers(server.url, timeoutSeconds=patience(way)))
        assert not tools.specs and len(tools.warnings) == 1
        assert tools.warnings[0].startswith("The tool server 'notes' ") and word in tools.warnings[0]
        assert "Traceback" not in tools.warnings[0] and len(tools.warnings[0]) < 400


@pytest.mark.parametrize(("way", "word"), WAYS, ids=[f"{number}-{word}" for number, word in enumerate(WORDS)])
async def test_a_call_that_goes_wrong_is_an_answer_that_says_why(redis_real, way, word):
    async with replica(redis_real, **HERE) as broker, handmade([tool("x")], call=way) as server:
        tools = await opened(broker, servers(server.url, timeoutSeconds=patience(way)))
        content, is_error = await tools.call("notes__x", "{}", "req_1")
        assert is_error and "'notes'" in content and word in content and len(content) < 400


async def test_a_redirect_is_not_followed(redis_real):
    async with handmade([tool("x")]) as other:
        async def there(request, asked):
            raise web.HTTPPermanentRedirect(other.url)

        async with replica(redis_real, **HERE) as broker, handmade(any_request=there) as server:
            await put_secret(broker, "notes-key", "k-123")
            assert not (await opened(broker, servers(server.url, apiKeyRef="notes-key"))).specs
            assert not other.seen


async def test_a_key_that_is_refused_says_which_setting_to_mend(redis_real):
    async with replica(redis_real, **HERE) as broker, handmade(any_request=always(401)) as server:
        await put_secret(broker, "notes-key", "k-123")
        tools = await opened(broker, servers(server.url, apiKeyRef="notes-key"))
        assert "does not take the key (401)" in tools.warnings[0] and "apiKeyRef" in tools.warnings[0]


async def test_a_key_that_a_refusal_repeats_is_taken_out_before_the_refusal_is_cut(redis_real):
    async def repeats(request, asked):
        error = {"code": -32602, "message": "x" * 485 + request.headers["Authorization"]}
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "error": error})

    async with replica(redis_real, **HERE) as broker, handmade([tool("x")], call=repeats) as server:
        await put_secret(broker, "notes-key", "k-123456789-987654321")
        tools = await opened(broker, servers(server.url, apiKeyRef="notes-key"))
        content, is_error = await tools.call("notes__x", "{}", "req_1")
        assert is_error and "k-123" not in content and "xxxBearer ***" in content


async def test_a_server_that_asks_back_without_end_is_stopped(redis_real):
    async def asks(request, asked):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(500):
            await response.write(b'event: message\ndata: {"jsonrpc": "2.0", "id": %d, "method": "ping"}\n\n' % number)
        return response

    async with replica(redis_real, **HERE) as broker, handmade([tool("x")], call=asks) as server:
        tools = await opened(broker, servers(server.url))
        content, is_error = await tools.call("notes__x", "{}", "req_1")
        assert is_error and "asked back more than 64 times and was stopped" in content
        assert len(server.seen) < 100


@pytest.mark.parametrize("number", [400, 404, 405, 500])
async def test_an_older_server_that_stumbles_over_the_newer_protocol_is_spoken_to_in_its_own(redis_real, number):
    async def discover(request, asked):
        return web.Response(status=number, text="what?")

    async with replica(redis_real, **HERE) as broker, handmade([tool("x")], discover=discover, call=fine) as server:
        tools = await opened(broker, servers(server.url))
        assert names(tools) == ["notes__x"] and await tools.call("notes__x", "{}", "req_1") == ("fine", False)


async def test_nobody_listening_is_a_warning(redis_real):
    async with replica(redis_real, **HERE) as broker:
        tools = await opened(broker, servers("http://127.0.0.1:9/mcp"))
        assert "could not be reached (Connection refused)" in tools.warnings[0]


async def test_one_server_that_is_away_does_not_take_the_others_tools(redis_real):
    async with replica(redis_real, **HERE) as broker, handmade([tool("x")]) as server:
        listed = json.dumps([{"name": "away", "url": "http://127.0.0.1:9/mcp"}, {"name": "notes", "url": server.url}]).encode()
        tools = await opened(broker, listed)
        assert names(tools) == ["notes__x"] and len(tools.warnings) == 1 and "'away'" in tools.warnings[0]


async def test_a_server_that_was_slow_to_fail_does_not_hold_up_the_next_answer(redis_real):
    async with replica(redis_real, **HERE) as broker, handmade(any_request=hangs) as server:
        await opened(broker, servers(server.url, timeoutSeconds=2.1))
        async with asyncio.timeout(1.5):
            tools = await opened(broker, servers(server.url, timeoutSeconds=2.1))
        assert "did not list its tools" in tools.warnings[0]


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (tool("bad", inputSchema={"type": "object", "properties": {"a": {"type": "wrong"}}}), "there is no type 'wrong'"),
        (tool("bad", inputSchema={"type": "object", "properties": {"a": {"enum": "x"}}}), "`enum` is no list"),
        (tool("bad", inputSchema={"type": "object", "properties": {"a": {"description": "x" * 70_000}}}), "larger than 64 KiB"),
        (tool("bad", description="x" * 70_000), "larger than 64 KiB"),
        (tool("good", description="again"), "listed twice"),
        (tool(""), "without a name"),
        (tool("bad", inputSchema={"type": "object", "default": nested(64)}), "nested more than 64 deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_tool_that_no_llm_could_be_told_is_left_out_with_a_warning(redis_real, bad, word):
    async with replica(redis_real, **HERE) as broker, handmade([tool("good"), bad]) as server:
        tools = await opened(broker, servers(server.url))
        assert names(tools) == ["notes__good"] and tools.specs[0]["function"]["description"] == "Does good."
        assert len(tools.warnings) == 1 and "'notes'" in tools.warnings[0] and word in tools.warnings[0]


@pytest.mark.parametrize("schema", ["text", None, {"type": "array"}])
async def test_a_list_that_breaks_the_protocol_is_a_warning(redis_real, schema):
    async with replica(redis_real, **HERE) as broker, handmade([tool("good"), tool("bad", inputSchema=schema)]) as server:
        tools = await opened(broker, servers(server.url))
        assert not tools.specs and "not MCP" in tools.warnings[0] and "inputSchema" in tools.warnings[0]


async def test_an_agent_has_at_most_128_tools(redis_real):
    async with replica(redis_real, **HERE) as broker, handmade([tool(f"t{number}") for number in range(3000)]) as server:
        tools = await opened(broker, servers(server.url))
        assert len(tools.specs) == 128 and "at most 128 tools: 2,872 of 'notes'" in tools.warnings[0]


async def test_odd_names_become_names_that_llms_take_and_lead_to_the_same_tool(redis_real):
    called = []

    async def call(request, asked):
        called.append(asked["params"]["name"])
        return result(asked, TEXT)

    odd = ["über.such/e", "über.such/é", "x" * 120, "a" * 53]
    async with replica(redis_real, **HERE) as broker, handmade([tool(name) for name in odd], call=call) as server:
        tools = await opened(broker, servers(server.url))
        assert len(set(names(tools))) == 4 and all(len(name) <= 64 and name.isascii() for name in names(tools))
        for name in names(tools):
            assert await tools.call(name, "{}", "req_1") == ("fine", False)
        assert called == odd


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        ({"content": []}, "The tool answered nothing."),
        ({"content": [], "structuredContent": {"a": [1, None]}}, '{"a":[1,null]}'),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "structuredContent": {"a": 1}}, "a\nb"),
        ({"content": [{"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}]}, "[audio: audio/wav, 3 bytes, not shown]"),
        ({"content": [{"type": "resource", "resource": {"uri": "f:/a", "text": "hello", "mimeType": "text/plain"}}]}, "[resource f:/a: text/plain]\nhello"),
        ({"content": [{"type": "resource", "resource": {"uri": "f:/a", "blob": "AAAA"}}]}, "[resource f:/a: unknown, 3 bytes, not shown]"),
        ({"content": [{"type": "resource_link", "uri": "f:/a", "name": "a", "size": 20480}]}, "[link f:/a: a, unknown, 20 KiB, not shown]"),
        ({"content": [{"type": "resource_link", "uri": "f:/a", "name": "a", "size": 10**400}]}, "[link f:/a: a, unknown, not shown]"),
    ],
)
async def test_what_is_no_text_is_named(redis_real, answer, content):
    async with replica(redis_real, **HERE) as broker, handmade([tool("x")], call=lambda request, asked: give(asked, answer)) as server:
        tools = await opened(broker, servers(server.url))
        assert await tools.call("notes__x", "{}", "req_1") == (content, False)


async def give(asked, answer):
    return result(asked, answer)
