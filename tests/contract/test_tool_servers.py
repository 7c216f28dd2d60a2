"""Tool servers at publishers: they live by the LLMs' rules, are given calls as tasks, and are in no LLM's place."""

from __future__ import annotations

import pytest

from broker.errors import PublisherOffline, Relayed
from broker.unknown import UnknownToolServer
from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.tokens import bearer, tokens
from tests.support.tool_servers import TOOL_SERVERS, ToolProvider, answered, ask, asked, tool_server
from tests.support.waiting import eventually

LIST = {"method": "tools/list"}
FIELDS = {
    "id", "name", "description", "providerSessionId", "status", "lastHeartbeatAt", "inactiveSince", "version", "createdAt",
    "updatedAt", "slots", "channel",
}


async def until_inactive(broker, name: str) -> dict:
    async def inactive():
        row = await tool_server(broker, name)
        return row if row and row["status"] == "inactive" else None

    return await eventually(inactive)


async def test_a_tool_server_is_registered_answered_and_listed_without_its_prefix(redis_at):
    async with replica(redis_at) as broker:
        provider = ToolProvider(broker, {"name": "files", "description": "d", "slots": 2}, "search")
        status, body, _ = await provider.register()
        assert status == 201 and body["llms"] == [] and [row["name"] for row in body["toolServers"]] == ["files", "search"]
        assert (await broker.call("GET", TOOL_SERVERS))[1] == body["toolServers"]
        files, search = body["toolServers"]
        assert set(files) == FIELDS and files["status"] == "active" and files["channel"] is False
        assert (files["description"], files["slots"], search["description"], search["slots"]) == ("d", 2, "", 4)
        assert files["providerSessionId"] == provider.session
        assert await tool_server(broker, "files") == files == await tool_server(broker, files["id"])


async def test_a_tool_server_is_in_no_list_of_llms_or_models(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files", llms=("m",)):
        assert [row["name"] for row in (await broker.call("GET", BASE))[1]] == ["m"]
        assert [row["id"] for row in (await broker.call("GET", "/v1/models"))[1]["data"]] == ["m"]
        for path in ("/api/tags", "/api/ps"):
            assert [row["name"] for row in (await broker.call("GET", path))[1]["models"]] == ["m"]
        assert b"_tools" not in (await broker.call("GET", "/metrics"))[1]


async def test_nobody_asks_a_tool_server_as_an_llm(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files", llms=("m",)) as provider:
        row = await tool_server(broker, "files")
        for name in ("_tools/files", row["id"]):
            path = name.replace("/", "%2F")
            body = {"model": name, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, "prompt": "", "input": "x"}
            calls = [
                ("POST", f"{BASE}/{path}/infer"), ("GET", f"{BASE}/{path}"), ("DELETE", f"{BASE}/{path}"),
                ("PATCH", f"{BASE}/{path}"), ("GET", f"/v1/models/{path}"),
                *(("POST", f"/v1/{front}") for front in ("chat/completions", "completions", "embeddings", "messages")),
                *(("POST", f"/api/{front}") for front in ("chat", "generate", "embed", "embeddings", "show")),
            ]
            for method, url in calls:
                sent = None if method in ("GET", "DELETE") else {} if method == "PATCH" else body
                status, answer, _ = await broker.call(method, url, sent)
                assert status == 404, (method, url, status, answer)
        assert provider.frames.empty() and await tool_server(broker, "files") == row


@pytest.mark.parametrize("key", ["name", "id"])
async def test_no_agent_is_pinned_to_a_tool_server(redis_at, key):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        name = "_tools/files" if key == "name" else (await tool_server(broker, "files"))["id"]
        status, body, _ = await broker.call("POST", "/api/v1/agents", {"name": "bot", "llm": name})
        assert status == 404 and name in body["error"]["message"]
        status, body, _ = await provider.register(agents=[{"name": "bot", "llmName": name}])
        assert status == 404 and name in body["error"]["message"]


async def test_an_agent_with_a_model_is_never_answered_by_a_tool_server(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files"):
        for number, model in enumerate(("files", "_tools/files")):
            await make_agent(broker, f"bot-{number}", model=model)
            status, body, _ = await broker.chat(f"agent/bot-{number}")
            assert status == 503 and body["error"]["code"] == "publisher_offline"


async def test_a_call_is_a_task_of_its_session_and_its_result_is_the_answer(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        async with asked(broker, "files", LIST) as exchange:
            frame = await provider.next("infer")
            assert (frame["llmName"], frame["operation"], frame["request"]) == ("_tools/files", "mcp", LIST)
            await provider.answer(frame, {"tools": []})
            assert await answered(exchange) == (200, {"tools": []})


async def test_an_error_of_the_publisher_comes_with_its_status(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        async with asked(broker, "files", LIST) as exchange:
            await provider.answer(await provider.next(), {"error": {"message": "it does not start"}}, status=502)
            assert await answered(exchange) == (502, {"error": {"message": "it does not start"}})
        async with asked(broker, "files", LIST) as exchange:
            await provider.fail(await provider.next(), "not here", "not_published")
            with pytest.raises(Relayed, match="not here"):
                await answered(exchange)


async def test_a_call_that_nobody_wants_any_more_is_cancelled_at_the_publisher(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        async with asked(broker, "files", LIST):
            frame = await provider.next()
        cancel = await provider.next("cancel")
        assert cancel["taskId"] == frame["taskId"]
        await provider.fail(frame, "cancelled", "cancelled")


async def test_calls_beyond_the_slots_wait_in_line(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, {"name": "files", "slots": 1}) as provider:
        async with asked(broker, "files", LIST) as first, asked(broker, "files", LIST) as second:
            frame = await provider.next()
            assert first.place == 0 and second.place == 1 and provider.frames.empty()
            await provider.answer(frame, {"tools": []})
            await provider.answer(await provider.next(), {"tools": []})
            assert await answered(first) == await answered(second) == (200, {"tools": []})


async def test_an_unknown_tool_server_is_refused_naming_it(redis_at):
    async with replica(redis_at) as broker:
        with pytest.raises(UnknownToolServer, match="tool server 'files'"):
            await ask(broker, "files", LIST)
        status, body, _ = await broker.call("GET", f"{TOOL_SERVERS}/files")
        assert status == 404 and body["error"]["code"] == "unknown_tool_server" and "'files'" in body["error"]["message"]


async def test_without_its_publisher_it_is_inactive_and_calls_are_refused_at_once(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        await provider.close()
        row = await until_inactive(broker, "files")
        assert row["inactiveSince"] and row["channel"] is False
        with pytest.raises(PublisherOffline, match="the tool server 'files'"):
            await ask(broker, "files", LIST)
        assert (await provider.heartbeat())[0] == 200
        assert (await tool_server(broker, "files"))["status"] == "active"


async def test_a_silent_one_turns_inactive_and_goes_after_its_time(redis_real):
    async with replica(redis_real, stale_seconds=0.3, expire_seconds=1.5) as broker:
        await ToolProvider(broker, "files").register()
        await until_inactive(broker, "files")

        async def gone():
            return not await redis_real.read("llms")

        await eventually(gone)
        assert await tool_server(broker, "files") is None and not await redis_real.read("llm-ids")


async def test_one_that_a_replacing_registration_leaves_out_is_unpublished(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files", "search", llms=("m",)) as provider:
        provider.tools = [{"name": "search"}]
        assert (await provider.register(replace=True))[0] == 201
        assert [row["name"] for row in (await broker.call("GET", TOOL_SERVERS))[1]] == ["search"]
        assert (await broker.llm("m"))["status"] == "active"


async def test_a_name_that_is_held_is_refused_naming_the_tool_server_and_nothing_changes(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as holder:
        status, body, _ = await ToolProvider(broker, "files", llms=("m",)).register()
        assert status == 409 and body["error"]["message"].startswith("tool server 'files' is published by another session")
        assert body["error"]["param"] == "files" and (await broker.call("GET", BASE))[1] == []
        assert (await tool_server(broker, "files"))["providerSessionId"] == holder.session


async def test_an_inactive_one_is_adopted_under_its_id(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, {"name": "files", "description": "kept"}) as first:
        before = await tool_server(broker, "files")
        await first.close()
        await until_inactive(broker, "files")
        async with ToolProvider(broker, "files") as second:
            after = await tool_server(broker, "files")
            assert after["id"] == before["id"] and after["description"] == "kept"
            assert after["providerSessionId"] == second.session != first.session and after["status"] == "active"


async def test_a_field_that_is_left_out_keeps_its_value(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, {"name": "files", "description": "d", "slots": 2}) as provider:
        provider.tools = [{"name": "files"}]
        await provider.register()
        row = await tool_server(broker, "files")
        assert (row["description"], row["slots"]) == ("d", 2)


async def test_an_llm_and_a_tool_server_may_have_one_name(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "m", llms=("m",)) as provider:
        assert (await broker.llm("m"))["id"] != (await tool_server(broker, "m"))["id"]
        async with asked(broker, "m", LIST):
            frame = await provider.next()
            assert frame["llmName"] == "_tools/m"
            await provider.answer(frame, {"tools": []})


async def test_its_publisher_or_an_admin_may_delete_it(redis_at):
    roles = {"alice": "publisher", "reader": "client of alice", "bob": "publisher", "root": "admin"}
    async with tokens(redis_at, **roles) as given, replica(redis_at) as broker:
        async with ToolProvider(broker, "files", "search", token=given.alice):
            async def delete(name, token):
                return (await broker.call("DELETE", f"{TOOL_SERVERS}/{name}", headers=bearer(token)))[0]

            assert await delete("files", given.reader) == 403 and await delete("files", given.bob) == 404
            assert await delete("files", given.alice) == 204 == await delete("search", given.root)
            assert (await broker.call("GET", TOOL_SERVERS, headers=bearer(given.reader)))[1] == []


async def test_it_cannot_be_told_asleep(redis_at):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as provider:
        status, _, _ = await provider.post("/_provider-status", {"llmName": "_tools/files", "status": "hibernating"})
        assert status == 404 and (await tool_server(broker, "files"))["status"] == "active"


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"name": "_x"}], "toolServers[0].name"), ([{"name": ""}], "toolServers[0].name"),
        ([{"name": "x", "slots": 0}], "toolServers[0].slots"), ([{"name": "x"}, {"name": "x"}], "toolServers"),
        ([{"name": f"x{number}"} for number in range(201)], "providers"),
    ],
)
async def test_an_entry_that_cannot_be_is_422_naming_its_place(redis_real, tools, param):
    async with replica(redis_real) as broker:
        status, body, _ = await ToolProvider(broker, *tools).register()
        assert status == 422 and body["error"]["param"] == param
        assert (await broker.call("GET", TOOL_SERVERS))[1] == []


async def test_a_registration_of_something_else_than_tool_servers_is_400(redis_real):
    async with replica(redis_real) as broker:
        for wrong in ("files", [{"description": "d"}], [{"name": 5}]):
            status, body, _ = await Provider(broker, "m").register(toolServers=wrong)
            assert status == 400 and "toolServers" in body["error"]["message"]
