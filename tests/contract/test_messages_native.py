"""The Anthropic front before public LLMs that speak Anthropic's API themselves: both sides' words pass as they are."""

from __future__ import annotations

import json

import pytest

from scripts.ports import free_port
from tests.support.agents import make_agent
from tests.support.brokers import Replica, replica
from tests.support.engines.anthropic import Anthropic, Script, event, stream, text, thinking, tool
from tests.support.library import make_project
from tests.support.messages import HELLO, PATH, asking, event_of, events, open_stream
from tests.support.public import HERE, LLMS, make_llm
from tests.support.tool_servers import ToolProvider
from tests.support.streams import asked
from tests.support.waiting import eventually

CLAUDE = {"type": "anthropic", "model": "claude-a", "key": "sk-1"}
#: What no other server knows, and no translation would let pass.
OWN = {
    "system": [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}],
    "thinking": {"type": "enabled", "budget_tokens": 2000}, "service_tier": "auto", "vendor": {"a": [1, None, 1.0]},
    "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
    "mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}],
    "messages": [*HELLO, {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                                                           {"type": "container_upload", "file_id": "f"}]}],
}
BETAS = {"anthropic-version": "2024-01-01", "anthropic-beta": "a-1,b-2"}
THEIRS = {"request-id": "req_theirs", "anthropic-ratelimit-requests-remaining": "7", "x-secret": "no"}
CITATION = {"type": "web_search_tool_result", "tool_use_id": "t0", "pieces": ("ä",)}
BLOCKS = (thinking("hm"), text("tök", "€n"), CITATION, tool("t1", "f", '{"a":', "1}"))


def upstream(script: Script | None = None) -> Anthropic:
    return Anthropic(script or Script(), key="sk-1", strict=False)


async def post(broker: Replica, model: str = "claude", *, headers: dict | None = None, **body) -> tuple[int, bytes, dict]:
    async with broker.http.post(broker.url + PATH, json=asking(model, **body), headers=headers) as response:
        return response.status, await response.read(), response.headers


async def none_running(place) -> bool:
    return not [key for key in await place.keys() if key.startswith((b"task:", b"asked:"))]


async def test_a_request_goes_out_as_it_came_but_for_its_model(redis_at):
    async with replica(redis_at, **HERE) as broker, upstream() as server:
        await make_llm(broker, "claude", server.url + "/v1", **CLAUDE)
        status, _, _ = await post(broker, headers={**BETAS, "x-api-key": "mine", "x-other": "1"}, **OWN)
        seen = server.seen[-1]
        assert status == 200 and seen.path == "/v1/messages"
        assert seen.json == asking("claude-a", **OWN) and json.dumps(OWN["vendor"]).encode() in seen.body
        assert {name: seen.headers[name] for name in BETAS} == BETAS and seen.headers["x-api-key"] == "sk-1"
        assert "x-other" not in seen.headers and "Authorization" not in seen.headers


async def test_a_request_that_names_no_version_gets_one(redis_real):
    async with replica(redis_real, **HERE) as broker, upstream() as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        assert (await post(broker))[0] == 200
        assert server.seen[-1].headers["anthropic-version"] == "2023-06-01" and "anthropic-beta" not in server.seen[-1].headers


async def test_an_answer_comes_back_byte_for_byte_with_the_headers_that_matter(redis_at):
    raw = b'{ "id": "msg_1",\n "type":"message","content":[{"type":"text","text":"\\u00e4","citations":[]}], "odd": 1.0 }'
    async with replica(redis_at, **HERE) as broker, upstream(Script(raw=raw, headers=THEIRS)) as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        status, body, headers = await post(broker)
        assert (status, body, headers["Content-Type"]) == (200, raw, "application/json")
        assert headers["request-id"] == "req_theirs" != headers["X-Request-Id"] and "x-secret" not in headers
        assert headers["anthropic-ratelimit-requests-remaining"] == "7"


@pytest.mark.parametrize("write_bytes", [0, 1])
async def test_a_stream_comes_back_byte_for_byte_pings_included(redis_at, write_bytes):
    script = Script(blocks=BLOCKS, stop_reason="tool_use", write_bytes=write_bytes, headers=THEIRS)
    async with replica(redis_at, **HERE) as broker, upstream(script) as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        status, body, headers = await post(broker, stream=True, **OWN)
        assert (status, body) == (200, stream({"model": "claude-a"}, script))
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8" and headers["request-id"] == "req_theirs"
        assert ("ping", {"type": "ping"}) in events(body)


async def test_events_that_are_written_otherwise_are_the_same_payloads(redis_real):
    raw = b': hi\r\n\r\ndata:{ "index":0, "type" : "content_block_stop" }\r\nid: 7\r\n\r\nevent: x\r\ndata: {"no":"type"}\r\n\r\n' \
          b'event: message_stop\r\ndata: {"type":"message_stop"}\r\n\r\ndata: [DONE]\r\n\r\n'
    async with replica(redis_real, **HERE) as broker, upstream(Script(raw=raw)) as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        _, body, _ = await post(broker, stream=True)
        assert body == (
            b'event: content_block_stop\ndata: { "index":0, "type" : "content_block_stop" }\n\ndata: {"no":"type"}\n\n'
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
        )


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refusal_passes_as_it_is(redis_at, streaming):
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}, "request_id": "req_theirs"}
    script = Script(status=429, error=error, headers={**THEIRS, "Retry-After": "9"})
    async with replica(redis_at, **HERE) as broker, upstream(script) as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        status, body, headers = await post(broker, stream=streaming)
        assert (status, body) == (429, json.dumps(error).encode())
        assert headers["Retry-After"] == "9" and headers["request-id"] == "req_theirs"


async def test_an_error_in_the_stream_passes_and_ends_it(redis_real):
    script = Script(error={"type": "overloaded_error", "message": "busy"})
    async with replica(redis_real, **HERE) as broker, upstream(script) as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        _, body, _ = await post(broker, stream=True)
        assert body == stream({"model": "claude-a"}, script)
        assert events(body)[-1] == ("error", {"type": "error", "error": script.error})


@pytest.mark.parametrize("script", [Script(cut_after=700), Script(raw=event({"type": "ping"}))], ids=["cut", "ended too early"])
async def test_a_stream_that_breaks_off_ends_in_an_error_event(redis_at, script):
    async with replica(redis_at, **HERE) as broker, upstream(script) as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        status, body, headers = await post(broker, stream=True)
        name, said = events(body)[-1]
        assert status == 200 and name == "error" and said["error"]["details"]["error_code"] == "backend_error"
        assert said["request_id"] == headers["X-Request-Id"] and b"message_stop" not in body


async def test_an_upstream_that_is_away_is_told_in_anthropics_shape(redis_real):
    async with replica(redis_real, **HERE) as broker:
        await make_llm(broker, "claude", f"http://127.0.0.1:{free_port()}", **CLAUDE)
        status, body, headers = await post(broker, stream=True)
        said = json.loads(body)
        assert status == 502 and said["error"]["details"]["error_code"] == "upstream_unreachable"
        assert said["request_id"] == headers["request-id"]


async def test_a_client_that_leaves_hangs_up_on_the_upstream(redis_at):
    async with replica(redis_at, **HERE) as broker, upstream(Script(hang="stream")) as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        async with open_stream(broker, model="claude") as response:
            assert (await event_of(response))[0] == "message_start"
        await server.until(lambda: server.seen[-1].aborted, 10.0)
        await eventually(lambda: none_running(redis_at))


async def test_openais_clients_are_translated_as_before(redis_real):
    async with replica(redis_real, **HERE) as broker, upstream() as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        assert (await post(broker))[0] == 200
        status, answer, _ = await broker.chat("claude", messages=HELLO)
        assert status == 200 and answer["choices"][0]["message"]["content"] == "tök€n 🙂"


async def test_tokens_are_counted_by_the_upstream(redis_at):
    async with replica(redis_at, **HERE) as broker, upstream(Script(headers=THEIRS)) as server:
        await make_llm(broker, "claude", server.url + "/v1", **CLAUDE)
        body = {"model": "claude", "messages": HELLO, "thinking": OWN["thinking"], "tools": OWN["tools"]}
        status, answer, headers = await broker.call("POST", f"{PATH}/count_tokens", body, headers=BETAS)
        assert (status, answer, headers["request-id"]) == (200, {"input_tokens": 17}, "req_theirs")
        assert server.seen[-1].path == "/v1/messages/count_tokens" and server.asked == {**body, "model": "claude-a"}
        assert server.seen[-1].headers["anthropic-beta"] == "a-1,b-2" and server.seen[-1].headers["x-api-key"] == "sk-1"


async def test_tokens_of_other_public_llms_are_estimated_and_nothing_is_asked(redis_real):
    async with replica(redis_real, **HERE) as broker, upstream() as server:
        await make_llm(broker, "gpt", server.url, type="openai")
        for _ in range(2):
            status, answer, _ = await broker.call("POST", f"{PATH}/count_tokens", {"model": "gpt", "messages": HELLO})
            assert status == 200 and answer["estimate"] is True
        assert not server.seen
        await eventually(lambda: none_running(redis_real))


@pytest.mark.parametrize(("given", "said"), [
    ({}, "be kind"),
    ({"system": None}, "be kind"),
    ({"system": "be quick"}, [{"type": "text", "text": "be kind"}, {"type": "text", "text": "be quick"}]),
    ({"system": OWN["system"]}, [{"type": "text", "text": "be kind"}, *OWN["system"]]),
    ({"system": []}, [{"type": "text", "text": "be kind"}]),
])
async def test_an_agents_prompt_stands_before_the_callers_system(redis_real, given, said):
    async with replica(redis_real, **HERE) as broker, upstream() as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        await make_agent(broker, "bot", "claude", systemPrompt="be kind")
        assert (await post(broker, "agent/bot", **given))[0] == 200
        assert server.asked == {**asking("claude-a"), "system": said}


async def test_an_agents_parameters_fill_in_what_the_caller_left_out_in_the_apis_words(redis_at):
    params = {"max_completion_tokens": 9, "temperature": 1.5, "stop": "END", "seed": 1, "parallel_tool_calls": False, "top_k": 4}
    async with replica(redis_at, **HERE) as broker, upstream() as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        await make_agent(broker, "bot", "claude", defaultParams=params)
        body = {"model": "agent/bot", "messages": HELLO, "thinking": OWN["thinking"], "top_k": None}
        assert (await broker.call("POST", PATH, body))[0] == 200
        filled = {**body, "model": "claude-a", "max_tokens": 9, "temperature": 1.0, "stop_sequences": ["END"]}
        assert server.asked == filled
        assert (await broker.call("POST", PATH, {**body, "max_tokens": 3, "temperature": 0, "tools": OWN["tools"]}))[0] == 200
        choice = {"type": "auto", "disable_parallel_tool_use": True}
        assert server.asked == {**filled, "max_tokens": 3, "temperature": 0, "tools": OWN["tools"], "tool_choice": choice}


async def test_a_count_for_an_agent_counts_its_prompt(redis_real):
    async with replica(redis_real, **HERE) as broker, upstream() as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        await make_agent(broker, "bot", "claude", systemPrompt="be kind", defaultParams={"temperature": 1, "max_tokens": 9})
        status, answer, _ = await broker.call("POST", f"{PATH}/count_tokens", {"model": "agent/bot", "messages": HELLO})
        assert (status, answer) == (200, {"input_tokens": 17})
        assert server.asked == {"model": "claude-a", "messages": HELLO, "system": "be kind"}


async def test_a_parameter_of_an_agent_that_the_api_has_no_words_for_is_400_naming_it(redis_real):
    async with replica(redis_real, **HERE) as broker, upstream() as server:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        await make_agent(broker, "bot", "claude", defaultParams={"n": 2})
        status, body, _ = await post(broker, "agent/bot")
        assert status == 400 and "knows no n" in json.loads(body)["error"]["message"] and not server.seen
        assert (await post(broker, "claude", system=7))[0] == 200
        await make_agent(broker, "told", "claude", systemPrompt="be kind")
        status, body, _ = await post(broker, "agent/told", system=7)
        assert status == 400 and "system" in json.loads(body)["error"]["message"]


async def test_an_agent_with_tools_is_asked_in_openais_words(redis_real):
    async with replica(redis_real, **HERE) as broker, Anthropic(key="sk-1") as server, ToolProvider(broker, "home") as provider:
        await make_llm(broker, "claude", server.url, **CLAUDE)
        await make_project(broker, "house", mcpServers=[{"name": "home", "toolServer": "home"}])
        await make_agent(broker, "bot", "claude", project="house", systemPrompt="be kind")
        refused = await post(broker, "agent/bot", tools=OWN["tools"])
        assert refused[0] == 400 and b"tools[0].type" in refused[1]
        task = asked(post(broker, "agent/bot"))
        frame = await provider.next()
        await provider.answer(frame, {"tools": [{"name": "weather", "inputSchema": {"type": "object"}}]})
        status, body, headers = await task
        assert status == 200 and json.loads(body)["model"] == "agent/bot" and headers["request-id"] == headers["X-Request-Id"]
        assert server.asked["tools"][0]["name"] == "home__weather" and server.asked["system"] == "be kind"


async def test_a_row_that_changes_its_type_is_asked_in_its_new_words_at_once(redis_real):
    async with replica(redis_real, **HERE) as broker, upstream() as server:
        row = await make_llm(broker, "claude", server.url, **CLAUDE)
        assert (await post(broker, **OWN))[0] == 200
        status, _, _ = await broker.call("PATCH", f"{LLMS}/claude", {"type": "openai", "version": row["version"]})
        assert status == 200
        status, body, _ = await post(broker, tools=OWN["tools"])
        assert status == 400 and b"tools[0].type" in body
        await eventually(lambda: none_running(redis_real))
