"""The MCP front: agents are tools, each message stands for itself, and who waits hears that the work goes on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from tests.support.agents import make_agent
from tests.support.brokers import Replica, replica
from tests.support.provider import Provider
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

BOTH = {"Accept": "application/json, text/event-stream"}
OLD = {**BOTH, "MCP-Protocol-Version": "2025-06-18"}
NEW = "2026-07-28"
#: Comments at once, for tests that wait for one.
SOON = {"comment_first_seconds": 0.05, "comment_every_seconds": 0.05}


def envelope(method: str, params: dict | None = None, number: int = 1) -> dict:
    return {"jsonrpc": "2.0", "id": number, "method": method, **({} if params is None else {"params": params})}


async def say(broker: Replica, method: str, params: dict | None = None, *, headers: dict | None = None):
    """(status, JSON, headers) of one request of an older revision."""
    return await broker.call("POST", "/mcp", envelope(method, params), headers={**OLD, **(headers or {})})


async def say_newly(broker: Replica, method: str, params: dict | None = None, *, headers: dict | None = None, version: str = NEW):
    """The same of the revision that has no handshake."""
    meta = {"io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {}}
    more = {"Mcp-Name": params["name"]} if params and "name" in params else {}
    body = envelope(method, {**(params or {}), "_meta": meta})
    return await broker.call(
        "POST", "/mcp", body, headers={**BOTH, "MCP-Protocol-Version": version, "Mcp-Method": method, **more, **(headers or {})}
    )


def call(tool: str, message: object = "hello", **more) -> dict:
    return {"name": tool, "arguments": {"message": message}, **more}


def answer(text: str, **more) -> dict:
    message = {"role": "assistant", "content": text}
    return {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more}


@asynccontextmanager
async def asking(*calls):
    """Requests under way, which end with the block."""
    tasks = [asyncio.create_task(one) for one in calls]
    try:
        yield tasks[0] if len(tasks) == 1 else tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_every_agent_is_a_tool(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=[{"name": "bot", "llmName": "m", "description": "knows all"}]):
        await make_agent(broker, "team/poet", model="x")
        _, body, _ = await say(broker, "tools/list")
        poet, bot = sorted(body["result"]["tools"], key=lambda tool: tool["title"], reverse=True)
        assert (bot["name"], bot["title"], bot["description"]) == ("bot", "bot", "knows all")
        assert poet["name"].startswith("team_poet-") and poet["title"] == "team/poet" and "team/poet" in poet["description"]
        assert bot["inputSchema"]["required"] == ["message"] and bot["inputSchema"]["type"] == "object"


@pytest.mark.parametrize("speak", [say, say_newly])
@pytest.mark.parametrize("name", ["bot", "team/bot"])
async def test_a_call_puts_the_message_to_the_agent(redis_at, speak, name):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, name, "m", systemPrompt="be kind", defaultParams={"seed": 7})
        tool = (await say(broker, "tools/list"))[1]["result"]["tools"][0]["name"]
        async with asking(speak(broker, "tools/call", call(tool))) as asked:
            frame = await provider.next()
            assert frame["request"]["messages"] == [
                {"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"},
            ]
            assert frame["request"]["seed"] == 7 and not frame["streaming"]
            await provider.answer(frame, answer("hi", usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}))
            status, body, headers = await asked
        result = body["result"]
        assert status == 200 and headers["Content-Type"].startswith("application/json") and headers["X-Request-Id"]
        assert result["content"] == [{"type": "text", "text": "hi"}] and not result.get("isError")
        told = result["structuredContent"]
        assert (told["text"], told["agent"], told["finishReason"], told["usage"]["total_tokens"]) == ("hi", name, "stop", 4)


async def test_any_replica_answers_any_message(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        start = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        _, body, headers = await say(broker, "initialize", start)
        assert body["result"]["protocolVersion"] == "2025-06-18" and "tools" in body["result"]["capabilities"]
        assert "Mcp-Session-Id" not in headers
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await other.call("POST", "/mcp", note, headers=OLD))[:2] == (202, None)
        async with asking(say(other, "tools/call", call("bot"))) as asked:
            await provider.answer(await provider.next(), answer("hi"))
            assert (await asked)[1]["result"]["content"][0]["text"] == "hi"


async def test_what_hinders_an_agent_is_a_result_that_says_so(redis_at):
    bots = [{"name": "bot", "llmName": "m"}]
    async with replica(redis_at) as broker, Provider(broker, "m", agents=bots) as provider:
        await make_agent(broker, "away", "m")
        await make_agent(broker, "nobody", model="x")
        async with asking(say(broker, "tools/call", call("away"))) as asked:
            await provider.fail(await provider.next(), "no memory left", "backend_error")
            result = (await asked)[1]["result"]
            assert result["isError"] and "no memory left" in result["content"][0]["text"] and "structuredContent" not in result
        await provider.close()
        await broker.until_status("m", "inactive")
        for tool, code in (("bot", "agent_offline"), ("away", "publisher_offline"), ("nobody", "publisher_offline")):
            status, body, _ = await say(broker, "tools/call", call(tool))
            assert status == 200 and body["result"]["isError"] and f"({code})" in body["result"]["content"][0]["text"]


async def test_a_wake_that_fails_is_a_result_with_the_reason(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", initialStatus="hibernating") as provider:
        await make_agent(broker, "bot", "m")
        async with asking(say(broker, "tools/call", call("bot"))) as asked:
            await provider.fail(await provider.next("wake"), "the fan is broken")
            text = (await asked)[1]["result"]["content"][0]["text"]
            assert "the fan is broken" in text and "(wake_failed)" in text


@pytest.mark.parametrize(
    "arguments", [None, {}, {"message": ""}, {"message": " "}, {"message": 5}, {"message": "x", "mesage": "y"}, {"message": ["x"]}]
)
async def test_arguments_that_are_not_possible_are_told_to_the_llm_that_made_them_up(redis_real, arguments):
    async with replica(redis_real) as broker:
        await make_agent(broker, "bot", model="x")
        status, body, _ = await say(broker, "tools/call", {"name": "bot", **({} if arguments is None else {"arguments": arguments})})
        assert status == 200 and body["result"]["isError"] and "`message`" in body["result"]["content"][0]["text"]


@pytest.mark.parametrize(("speak", "status"), [(say, 200), (say_newly, 400)])
@pytest.mark.parametrize("tool", ["nobody", "nobody-0123456789ab"])
async def test_a_tool_that_there_is_not_is_an_error_of_the_protocol(redis_real, speak, status, tool):
    async with replica(redis_real) as broker:
        got, body, _ = await speak(broker, "tools/call", call(tool))
        assert got == status and body["error"]["code"] == -32602 and repr(tool) in body["error"]["message"] and body["id"] == 1


async def test_an_llm_that_calls_itself_an_agent_takes_its_name(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "agent/bot"):
        await make_agent(broker, "bot", model="x")
        text = (await say(broker, "tools/call", call("bot")))[1]["result"]["content"][0]["text"]
        assert "'agent/bot'" in text and "comes before" in text


async def stream(broker: Replica, params: dict, headers: dict | None = None):
    """(response, its lines as they come) of a tool call."""
    response = await broker.http.post(
        broker.url + "/mcp", data=json.dumps(envelope("tools/call", params)), headers={**OLD, **(headers or {})}
    )
    return response


def messages(text: bytes) -> list[dict]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith(b"data: ")]


async def test_who_waits_long_hears_comments_and_then_the_answer(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m", initialStatus="hibernating") as provider:
        await make_agent(broker, "bot", "m")
        async with await stream(broker, call("bot")) as response:
            assert response.content_type == "text/event-stream" and response.headers["X-Request-Id"]
            assert (await response.content.readline()).startswith(b":")
            await provider.answer(await provider.next("wake"), {"ok": True, "ms": 1})
            await provider.answer(await provider.next(), answer("hi"))
            rest = await response.read()
        assert [message["result"]["content"][0]["text"] for message in messages(rest)] == ["hi"]


async def test_a_client_that_asked_for_progress_hears_it_instead(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        async with await stream(broker, call("bot", _meta={"progressToken": "t"})) as response:
            first = await response.content.readuntil(b"\n\n")
            await response.content.readuntil(b"\n\n")
            await provider.answer(await provider.next(), answer("hi"))
            *told, last = messages(first + await response.read())
        assert last["result"]["content"][0]["text"] == "hi"
        assert {message["method"] for message in told} == {"notifications/progress"}
        params = [message["params"] for message in told]
        assert params[0] == {"progressToken": "t", "progress": 1, "message": "waiting for the agent"}
        assert [one["progress"] for one in params] == sorted({one["progress"] for one in params})


@pytest.mark.parametrize("headers", [{"X-Wait-Comments": "off"}, {"Accept": "application/json"}])
async def test_who_wants_no_stream_gets_none(redis_at, headers):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        async with asking(say(broker, "tools/call", call("bot"), headers=headers)) as asked:
            frame = await provider.next()
            await asyncio.wait([asked], timeout=0.2)
            await provider.answer(frame, answer("hi"))
            _, body, given = await asked
        assert given["Content-Type"].startswith("application/json") and body["result"]["content"][0]["text"] == "hi"


async def test_a_client_that_leaves_cancels_the_work(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        async with asking(say(broker, "tools/call", call("bot"))):
            frame = await provider.next()
        cancel = await provider.next("cancel")
        assert cancel["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")
        await eventually(lambda: not broker.broker.relay.running)


async def test_a_call_takes_no_longer_than_its_client_allows(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        headers = {"X-Deadline-Seconds": "0.1"}
        async with asking(say(broker, "tools/call", call("bot"), headers=headers)) as asked:
            frame = await provider.next()
            assert "(deadline_exceeded)" in (await asked)[1]["result"]["content"][0]["text"]
            await provider.next("cancel")
            await provider.fail(frame, "cancelled", "cancelled")


async def test_a_broker_that_shuts_down_says_so(redis_at):
    async with replica(redis_at) as leaving, replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        async with asking(say(leaving, "tools/call", call("bot"))) as asked:
            frame = await provider.next()
            await leaving.broker.drain(0)
            assert "(broker_stopped)" in (await asked)[1]["result"]["content"][0]["text"]
            assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
            await provider.fail(frame, "stopped")
        status, body, headers = await say(leaving, "tools/list")
        assert status == 503 and "shutting down" in body["error"]["message"] and headers["Retry-After"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_only_posts_are_possible(redis_real, method):
    async with replica(redis_real) as broker:
        status, body, headers = await broker.call(method, "/mcp", headers=BOTH)
        assert status == 405 and headers["Allow"] == "POST" and body["jsonrpc"] == "2.0"


BAD = [
    (b"", 400, -32600), (b"{", 400, -32700), (b"\xff", 400, -32700), (b"[" * 100_000, 400, -32700), (b"[]", 400, -32600), (b"5", 400, -32600),
    (b"{}", 400, -32600), (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', 400, -32600),
    (json.dumps([envelope("ping")]).encode(), 400, -32600), (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', 400, -32600),
    (b'{"jsonrpc": "2.0", "id": 1, "result": {}}', 400, -32600),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_what_is_no_message_is_refused_in_the_protocols_words(redis_real, body, status, code):
    async with replica(redis_real) as broker:
        got, said, _ = await broker.call("POST", "/mcp", body, headers=OLD)
        assert (got, said["error"]["code"], said["id"], said["jsonrpc"]) == (status, code, None, "2.0")


async def test_methods_and_parameters_that_there_are_not_are_refused(redis_real):
    async with replica(redis_real) as broker:
        for speak, statuses in ((say, (200, 200)), (say_newly, (404, 400))):
            status, body, _ = await speak(broker, "resources/list")
            assert (status, body["error"]["code"]) == (statuses[0], -32601)
            status, body, _ = await speak(broker, "tools/call", {"arguments": {}})
            assert (status, body["error"]["code"]) == (statuses[1], -32602)


async def test_a_revision_that_nobody_knows_is_refused_naming_those_that_there_are(redis_real):
    async with replica(redis_real) as broker:
        status, body, _ = await say_newly(broker, "tools/list", version="2030-01-01")
        assert status == 400 and NEW in body["error"]["data"]["supported"]
        note = {"jsonrpc": "2.0", "method": "notifications/x"}
        status, body, _ = await broker.call("POST", "/mcp", note, headers={**BOTH, "MCP-Protocol-Version": "2030-01-01"})
        assert status == 400 and NEW in body["error"]["data"]["supported"]


async def test_headers_that_belie_the_body_are_refused(redis_real):
    async with replica(redis_real) as broker:
        status, body, _ = await say_newly(broker, "tools/call", call("a"), headers={"Mcp-Name": "b"})
        assert status == 400 and "mcp-name" in body["error"]["message"]
        meta = {"io.modelcontextprotocol/protocolVersion": NEW, "io.modelcontextprotocol/clientCapabilities": {}}
        twice = [*BOTH.items(), ("MCP-Protocol-Version", NEW), ("Mcp-Method", "tools/list"), ("Mcp-Method", "tools/call")]
        status, body, _ = await broker.call("POST", "/mcp", envelope("tools/list", {"_meta": meta}), headers=twice)
        assert status == 400 and "more than once" in body["error"]["message"]


async def test_a_client_that_does_not_accept_json_is_refused(redis_real):
    async with replica(redis_real) as broker:
        status, body, _ = await say(broker, "ping", headers={"Accept": "text/event-stream"})
        assert status == 406 and "application/json" in body["error"]["message"]
        for accepted in ("*/*", "application/*", "Application/JSON;q=0.5"):
            assert (await say(broker, "ping", headers={"Accept": accepted}))[:2] == (200, {"jsonrpc": "2.0", "id": 1, "result": {}})


async def test_a_token_with_the_role_client_is_needed(redis_at):
    async with tokens(redis_at, app="client", pub="publisher") as given, replica(redis_at) as broker:
        for headers, code in ((None, 401), (bearer(given.pub), 403), (bearer("wrong"), 401)):
            status, body, _ = await say(broker, "tools/list", headers=headers)
            assert status == code and "token" in body["error"]["message"] and body["error"]["data"]["code"]
        assert (await say(broker, "tools/list", headers=bearer(given.app)))[1]["result"]["tools"] == []


async def test_pages_of_strangers_and_other_hosts_are_refused(redis_real):
    async with replica(redis_real) as broker:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            status, body, _ = await say(broker, "tools/list", headers=headers)
            assert status == 403 and body["jsonrpc"] == "2.0"


async def test_a_message_that_is_too_large_is_refused(redis_real):
    async with replica(redis_real, max_request_bytes=1000) as broker:
        status, body, _ = await say(broker, "tools/call", call("bot", "x" * 1000))
        assert status == 413 and "1,000 bytes" in body["error"]["message"]


async def test_redis_being_away_is_told(redis_real):
    async with replica(redis_real) as broker:
        await make_agent(broker, "bot", model="x")
        for link in broker.broker.store._links:
            await link.close()
        assert "(store_unavailable)" in (await say(broker, "tools/call", call("bot")))[1]["result"]["content"][0]["text"]
        assert (await say(broker, "tools/list"))[1]["error"]["code"] == -32603


async def test_without_the_extra_it_says_how_to_install_it(redis_real, monkeypatch):
    ours = ("broker.front_mcp.server", "broker.front_mcp.protocol")
    for name in [name for name in sys.modules if name in ours or name.split(".")[0] in ("mcp", "mcp_types")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    async with replica(redis_real) as broker:
        status, body, _ = await say(broker, "tools/list")
        assert status == 501 and "pip install 'reveille[agents]'" in body["error"]["message"]
        assert body["error"]["data"]["code"] == "mcp_not_installed"


def test_a_broker_that_nobody_asks_for_it_does_not_load_the_sdk():
    loaded = "import sys, broker.app; print([name for name in sys.modules if name.startswith('mcp')])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout.strip() == "[]"


async def make_thread(broker: Replica, agent: str, headers: dict | None = None) -> str:
    status, thread, _ = await broker.call("POST", f"/api/v1/agents/{agent}/threads", {}, headers=headers)
    assert status == 201, thread
    return thread["id"]


async def said_in(broker: Replica, thread: str) -> list[tuple[str, str, str]]:
    """(role, content, status) of each message."""
    _, body, _ = await broker.call("GET", f"/api/v1/threads/{thread}/messages")
    return [(message["role"], message["content"], message["status"]) for message in body["data"]]


def on(thread: object, message: str = "hello", **more) -> dict:
    return {"name": "bot", "arguments": {"message": message, "thread": thread}, **more}


async def test_with_a_thread_the_call_is_its_next_turn(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m", systemPrompt="be kind")
        thread = await make_thread(broker, "bot")
        for number in range(2):
            async with asking(say(broker, "tools/call", on(thread, f"question {number}"))) as asked:
                frame = await provider.next()
                await provider.answer(frame, answer(f"answer {number}", usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}))
                told = (await asked)[1]["result"]["structuredContent"]
            assert (told["thread"], told["text"], told["usage"]["total_tokens"]) == (thread, f"answer {number}", 3)
        assert [message["content"] for message in frame["request"]["messages"]] == ["be kind", "question 0", "answer 0", "question 1"]
        assert await said_in(broker, thread) == [
            (role, f"{word} {number}", "complete") for number in range(2) for role, word in (("user", "question"), ("assistant", "answer"))
        ]


async def test_a_call_on_a_thread_that_fails_leaves_its_turn_as_an_error(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        thread = await make_thread(broker, "bot")
        async with asking(say(broker, "tools/call", on(thread))) as asked:
            await provider.fail(await provider.next(), "no memory left", "backend_error")
            result = (await asked)[1]["result"]
        assert result["isError"] and "no memory left" in result["content"][0]["text"]
        assert await said_in(broker, thread) == [("user", "hello", "error")]


async def test_a_client_that_leaves_cancels_its_turn_too(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        thread = await make_thread(broker, "bot")
        async with asking(say(broker, "tools/call", on(thread))):
            frame = await provider.next()
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")

        async def is_over() -> bool:
            return await said_in(broker, thread) == [("user", "hello", "error")]

        await eventually(is_over)


async def test_a_thread_that_runs_is_another_agents_or_is_not_there_is_a_result_that_says_so(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        await make_agent(broker, "other", "m")
        thread = await make_thread(broker, "bot")
        cases = [(on("nothing"), "'nothing'"), (on(await make_thread(broker, "other")), "'other'"), (on(5), "`thread`")]
        async with asking(say(broker, "tools/call", on(thread))) as asked:
            frame = await provider.next()
            for params, word in [*cases, (on(thread), "(turn_running)")]:
                result = (await say(broker, "tools/call", params))[1]["result"]
                assert result["isError"] and word in result["content"][0]["text"]
            await provider.answer(frame, answer("hi"))
            assert not (await asked)[1]["result"].get("isError")


async def test_another_owners_thread_is_not_there(redis_at):
    async with tokens(redis_at, ann="client", bob="client") as given, replica(redis_at) as broker:
        await make_agent(broker, "bot", model="x", headers=bearer(given.ann))
        thread = await make_thread(broker, "bot", bearer(given.ann))
        result = (await say(broker, "tools/call", on(thread), headers=bearer(given.bob)))[1]["result"]
        assert result["isError"] and "(unknown_thread)" in result["content"][0]["text"]
