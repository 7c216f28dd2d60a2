"""Agents with tools as models: the broker runs their tools, and the caller of any front gets an answer as from an LLM."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.agents import make_agent
from tests.support.brokers import Replica, replica
from tests.support.conversing import calls, spec, stream_to
from tests.support.engines.anthropic import Anthropic, Script, text, tool
from tests.support.errors import told
from tests.support.library import make_project
from tests.support.messages import HELLO, PATH, asking, call_piece, chunk, completion, events, usage_chunk
from tests.support.public import HERE, make_llm
from tests.support.streams import asked, event_of, stream
from tests.support.tool_servers import ToolProvider
from tests.support.waiting import eventually

WEATHER = {"name": "weather", "description": "How warm it is.", "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}}}
ROME = ("call_1", "home__weather", '{"city": "Rome"}')
AGENT = "agent/bot"


@asynccontextmanager
async def agent(place, **settings) -> AsyncIterator[tuple[Replica, ToolProvider]]:
    """A broker, and a publisher that the test plays: of the LLM ``m`` and of a tool server, for the agent ``bot``."""
    async with replica(place, **settings) as broker, ToolProvider(broker, "home", llms=("m",)) as provider:
        await make_project(broker, "house", mcpServers=[{"name": "home", "toolServer": "home"}])
        await make_agent(broker, "bot", "m", project="house", systemPrompt="be kind", defaultParams={"top_p": 0.9})
        yield broker, provider


async def lists(provider: ToolProvider) -> None:
    """The tool server is asked what it has."""
    frame = await provider.next()
    assert (frame["llmName"], frame["request"]) == ("_tools/home", {"method": "tools/list"})
    await provider.answer(frame, {"tools": [WEATHER]})


async def calls_rome(provider: ToolProvider, **more) -> dict:
    """The LLM calls the tool in its first answer and the tool answers. Gives the frame of that ask."""
    await lists(provider)
    first = await provider.next()
    if first["streaming"]:
        named = call_piece(0, *ROME)
        await stream_to(provider, first, chunk(tool_calls=[named], **more), chunk("tool_calls"), usage_chunk(7, 3))
    else:
        await provider.answer(first, completion("tool_calls", tool_calls=calls(ROME), **more))
    frame = await provider.next()
    assert frame["llmName"] == "_tools/home"
    assert frame["request"] == {"method": "tools/call", "params": {"name": "weather", "arguments": {"city": "Rome"}}}
    await provider.answer(frame, {"content": [{"type": "text", "text": "31 degrees"}]})
    return first


async def test_the_tools_of_an_agent_are_run_by_the_broker_and_the_caller_gets_the_answer(redis_at):
    async with agent(redis_at) as (broker, provider):
        task = asked(broker.chat(AGENT, messages=HELLO, temperature=0))
        first = await calls_rome(provider, content="Let me look.")
        request = first["request"]
        assert request["messages"] == [{"role": "system", "content": "be kind"}, *HELLO]
        assert (request["temperature"], request["top_p"], request["stream"]) == (0, 0.9, False)
        assert [one["function"]["name"] for one in request["tools"]] == ["home__weather"]
        second = await provider.next()
        assert second["request"]["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "31 degrees"}
        await provider.answer(second, completion(content="It is hot."))
        status, body, headers = await task
        assert status == 200 and headers["Content-Type"].startswith("application/json")
        assert body["model"] == AGENT and body["object"] == "chat.completion" and headers["X-Request-Id"][4:] in body["id"]
        choice = body["choices"][0]
        assert choice["message"] == {"role": "assistant", "content": "Let me look.\n\nIt is hot."}
        assert choice["finish_reason"] == "stop"
        assert (body["usage"]["prompt_tokens"], body["usage"]["total_tokens"]) == (14, 20)


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_stream_is_one_completion_that_ends_once(redis_at, wanted):
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    async with agent(redis_at) as (broker, provider):
        task = asked(stream(broker, AGENT, messages=HELLO, **options))
        await calls_rome(provider, content="Let me look.")
        await stream_to(
            provider, await provider.next(), chunk(reasoning_content="Hm."), chunk(content="It is "), chunk("stop", content="hot."), usage_chunk(9, 4)
        )
        said = await task
        assert said.status == 200 and said.payloads[-1] == b"[DONE]" and said.payloads.count(b"[DONE]") == 1
        chunks = [json.loads(one) for one in said.payloads[:-1]]
        assert {(one["id"], one["model"], one["object"]) for one in chunks} == {(chunks[0]["id"], AGENT, "chat.completion.chunk")}
        deltas = [one["choices"][0]["delta"] for one in chunks if one["choices"]]
        assert "".join(delta.get("content", "") for delta in deltas) == "Let me look.\n\nIt is hot."
        assert deltas[0]["role"] == "assistant" and not any("role" in delta or "tool_calls" in delta for delta in deltas[1:])
        assert {"reasoning_content": "Hm."} in deltas
        ends = [one["choices"][0]["finish_reason"] for one in chunks if one["choices"]]
        assert ends == [None] * (len(ends) - 1) + ["stop"]
        assert [one["usage"]["total_tokens"] for one in chunks if "usage" in one] == ([23] if wanted else [])


async def test_words_are_the_callers_when_the_llm_says_them(redis_at):
    async with agent(redis_at) as (broker, provider):
        opening = asked(anext_of(broker))
        await lists(provider)
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="It "))
        response, first = await opening
        assert b'"It "' in first
        await stream_to(provider, frame, chunk("stop", content="is hot."))
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


async def anext_of(broker: Replica):
    response = await broker.http.post(broker.url + "/v1/chat/completions", json={"model": AGENT, "messages": HELLO, "stream": True})
    return response, await event_of(response)


async def test_each_ask_waits_in_the_class_that_its_caller_gave(redis_at):
    async with agent(redis_at) as (broker, provider):
        running = asked(broker.chat("m", messages=HELLO))
        busy = await provider.next()
        task = asked(broker.chat(AGENT, messages=HELLO, headers={"X-Priority": "batch"}))
        await lists(provider)

        async def priority() -> bytes | None:
            waiting = await redis_at.read("waiting:m")
            return (await redis_at.read(f"task:{waiting[0][0].decode()}"))[b"priority"] if waiting else None

        assert await eventually(priority) == b"batch"
        await provider.answer(busy)
        await provider.answer(await provider.next(), completion(content="hi"))
        assert (await running)[0] == (await task)[0] == 200


async def test_a_message_to_an_agent_with_tools_whole_and_streamed(redis_at):
    async with agent(redis_at) as (broker, provider):
        task = asked(broker.call("POST", PATH, asking(AGENT)))
        await calls_rome(provider)
        await provider.answer(await provider.next(), completion(content="It is hot."))
        status, body, _ = await task
        assert status == 200 and body["content"] == [{"type": "text", "text": "It is hot."}]
        assert body["stop_reason"] == "end_turn" and body["usage"]["input_tokens"] == 14 and body["model"] == AGENT

        async def read_stream() -> bytes:
            async with broker.http.post(broker.url + PATH, json=asking(AGENT, stream=True)) as response:
                return await response.read()

        task = asked(read_stream())
        await provider.answer(await provider.next(), completion("tool_calls", content="Well.", tool_calls=calls(ROME)))
        await provider.answer(await provider.next(), {"content": [{"type": "text", "text": "31"}]})
        await stream_to(provider, await provider.next(), chunk(content="Hot."), chunk("stop"), usage_chunk(9, 4))
        found = events(await task)
        assert [name for name, _ in found].count("message_start") == 1 and found[-1][0] == "message_stop"
        assert "".join(data["delta"].get("text", "") for name, data in found if name == "content_block_delta") == "Well.\n\nHot."
        assert found[-2][1]["delta"]["stop_reason"] == "end_turn" and found[-2][1]["usage"]["output_tokens"] == 7
        assert not [data for name, data in found if name == "content_block_start" and data["content_block"]["type"] != "text"]


@pytest.mark.parametrize("path", ["chat", "generate"])
@pytest.mark.parametrize("streams", [True, False])
async def test_programs_that_know_only_ollama_ask_an_agent_with_tools(redis_at, path, streams):
    async with agent(redis_at) as (broker, provider):
        body = {"model": AGENT, "stream": streams, **({"messages": HELLO} if path == "chat" else {"prompt": "hello"})}

        async def lines() -> list[dict]:
            async with broker.http.post(f"{broker.url}/api/{path}", json=body) as response:
                return [json.loads(line) for line in (await response.read()).splitlines()]

        task = asked(lines())
        await calls_rome(provider)
        frame = await provider.next()
        if streams:
            await stream_to(provider, frame, chunk(content="It is "), chunk("stop", content="hot."), usage_chunk(9, 4))
        else:
            await provider.answer(frame, completion(content="It is hot."))
        found = await task
        said = [one["message"]["content"] if path == "chat" else one["response"] for one in found]
        assert "".join(said) == "It is hot." and [one["done"] for one in found] == [False] * (len(found) - 1) + [True]
        assert found[-1]["done_reason"] == "stop" and found[-1]["eval_count"] == (7 if streams else 6)
        assert found[-1]["total_duration"] >= found[-1]["eval_duration"] > 0
        assert not any("tool_calls" in one.get("message", {}) for one in found)


@pytest.mark.parametrize("streams", [True, False])
async def test_a_call_of_the_callers_own_tool_is_the_callers_to_answer(redis_at, streams):
    paint = ("call_2", "paint", '{"colour":"red"}')
    async with agent(redis_at) as (broker, provider):
        given = {"messages": HELLO, "tools": [spec("paint")]}
        task = asked(stream(broker, AGENT, **given) if streams else broker.chat(AGENT, **given))
        await lists(provider)
        frame = await provider.next()
        assert [one["function"]["name"] for one in frame["request"]["tools"]] == ["paint", "home__weather"]
        await provider.answer(frame, completion("tool_calls", content=None, tool_calls=calls(ROME, paint)))
        if streams:
            chunks = [json.loads(one) for one in (await task).payloads[:-1]]
            assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "tool_calls": [{"index": 0, **calls(paint)[0]}]}
            assert chunks[1]["choices"][0]["finish_reason"] == "tool_calls"
        else:
            choice = (await task)[1]["choices"][0]
            assert choice["message"] == {"role": "assistant", "content": None, "tool_calls": calls(paint)}
            assert choice["finish_reason"] == "tool_calls"
        results = [*HELLO, {"role": "assistant", "tool_calls": calls(paint)}, {"role": "tool", "tool_call_id": "call_2", "content": "done"}]
        task = asked(broker.chat(AGENT, messages=results, tools=[spec("paint")]))
        frame = await provider.next()
        assert frame["request"]["messages"][1:] == results
        await provider.answer(frame, completion(content="It is red."))
        assert (await task)[1]["choices"][0]["message"]["content"] == "It is red."


async def test_a_callers_tool_with_the_name_of_one_of_the_agents_is_422(redis_at):
    async with agent(redis_at) as (broker, provider):
        task = asked(broker.chat(AGENT, messages=HELLO, tools=[spec("home__weather")]))
        await lists(provider)
        status, body, _ = await task
        assert status == 422 and body["error"]["param"] == "tools" and "'home__weather'" in body["error"]["message"]


@pytest.mark.parametrize(
    ("given", "param"),
    [({"n": 2}, "n"), ({"tools": [{"type": "web_search"}]}, "tools"), ({"tools": 7}, "tools"), ({"messages": "hi"}, "messages"),
     ({"stream_options": []}, "stream_options"), ({"n": "many"}, "n")],
)
async def test_what_an_agent_with_tools_cannot_be_asked_is_400(redis_real, given, param):
    async with agent(redis_real) as (broker, _):
        status, body, _ = await broker.chat(AGENT, **{"messages": HELLO, **given})
        assert status == 400 and body["error"]["param"] == param


async def test_tools_that_cannot_be_had_are_missing_and_the_agent_answers(redis_at):
    async with agent(redis_at) as (broker, provider):
        task = asked(broker.chat(AGENT, messages=HELLO))
        await provider.answer(await provider.next(), {"error": {"message": "broken"}}, status=500)
        frame = await provider.next()
        assert frame["llmName"] == "m" and "tools" not in frame["request"]
        await provider.answer(frame, completion(content="Who knows?"))
        assert (await task)[1]["choices"][0]["message"]["content"] == "Who knows?"


@pytest.mark.parametrize("extras", [{"tools": []}, {}])
async def test_an_agent_whose_extras_allow_no_tool_is_passed_through(redis_at, extras):
    said = {"id": "c", "model": "what the backend says", "choices": []}
    async with agent(redis_at) as (broker, provider):
        await make_agent(broker, "plain", "m", project="house" if extras else None, extras=extras)
        task = asked(broker.chat("agent/plain", messages=HELLO, n=2))
        await provider.answer(await provider.next(), said)
        assert (await task)[:2] == (200, said)


async def test_a_refusal_before_anything_was_said_keeps_its_status_in_every_front(redis_at):
    async with agent(redis_at, queue_length=1) as (broker, provider):
        for number, path in enumerate(("/v1/chat/completions", PATH, "/api/chat")):
            for streams in (False, True):
                task = asked(broker.call("POST", path, asking(AGENT, stream=streams)))
                if number == 0 and not streams:
                    await lists(provider)
                error = {"error": {"message": "too busy", "code": "busy"}}
                await provider.answer(await provider.next(), error, status=429, headers={"retry-after": "7"})
                status, body, headers = await task
                assert (status, headers["Retry-After"], told(body).message) == (429, "7", "too busy")


async def test_an_llm_that_is_offline_is_503(redis_at):
    async with agent(redis_at) as (broker, provider):
        await provider.close()
        await broker.until_status("m", "inactive")
        status, body, headers = await broker.chat(AGENT, messages=HELLO)
        assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "publisher_offline", "5")


@pytest.mark.parametrize("path", ["/v1/chat/completions", PATH, "/api/chat"])
async def test_a_failure_after_words_were_said_is_told_in_the_stream(redis_at, path):
    async with agent(redis_at) as (broker, provider):
        async def read() -> bytes:
            async with broker.http.post(broker.url + path, json=asking(AGENT, stream=True)) as response:
                assert response.status == 200
                return await response.read()

        task = asked(read())
        await calls_rome(provider, content="Let me look.")
        frame = await provider.next()
        await provider.fail(frame, "the backend is gone")
        body = await task
        assert b"Let me look." in body and b"the backend is gone" in body and b"[DONE]" not in body


@pytest.mark.parametrize("streams", [True, False])
async def test_an_upstream_with_another_api_uses_an_agents_tools_as_well(redis_at, streams):
    calling = Script(blocks=(text("Well."), tool("toolu_1", "home__weather", '{"city":', '"Rome"}')), stop_reason="tool_use")
    async with agent(redis_at, max_iterations=2, **HERE) as (broker, provider), Anthropic(calling, key="sk-1") as upstream:
        await make_llm(broker, "claude", upstream.url, type="anthropic", model="claude-a", key="sk-1")
        await broker.call("PATCH", "/api/v1/agents/bot", {"llm": "claude"})
        task = asked(stream(broker, AGENT, messages=HELLO) if streams else broker.chat(AGENT, messages=HELLO))
        await lists(provider)
        frame = await provider.next()
        assert frame["request"]["params"]["arguments"] == {"city": "Rome"}
        upstream.script = Script(blocks=(text("It is hot."),))
        await provider.answer(frame, {"content": [{"type": "text", "text": "31"}]})
        said = await task
        if streams:
            deltas = [one["choices"][0]["delta"] for one in map(json.loads, said.payloads[:-1]) if one["choices"]]
            words = "".join(delta.get("content", "") for delta in deltas)
        else:
            words = said[1]["choices"][0]["message"]["content"]
        assert words == "Well.\n\nIt is hot."
        assert upstream.asked["tool_choice"] == {"type": "none"} and upstream.asked["tools"][0]["name"] == "home__weather"
        assert upstream.asked["messages"][-1]["content"][0]["tool_use_id"] == "toolu_1"


async def test_a_call_that_never_ends_has_a_number_of_answers(redis_at):
    async with agent(redis_at, max_iterations=2) as (broker, provider):
        task = asked(broker.chat(AGENT, messages=HELLO))
        await calls_rome(provider)
        frame = await provider.next()
        assert frame["request"]["tool_choice"] == "none"
        await provider.answer(frame, completion("tool_calls", tool_calls=calls(ROME)))
        status, body, _ = await task
        assert (status, body["error"]["code"]) == (502, "max_iterations")


@pytest.mark.parametrize("comments", ["on", "off"])
async def test_a_tool_may_take_longer_than_an_llm_may_be_silent_and_the_client_hears_comments(redis_real, comments):
    async with agent(redis_real, comment_first_seconds=0.05, comment_every_seconds=0.05, idle_seconds=0.2) as (broker, provider):
        task = asked(stream(broker, AGENT, messages=HELLO, headers={"X-Wait-Comments": comments}))
        await lists(provider)
        await provider.answer(await provider.next(), completion("tool_calls", content="Well.", tool_calls=calls(ROME)))
        frame = await provider.next()
        ended, _ = await asyncio.wait({task}, timeout=0.5)
        assert not ended
        await provider.answer(frame, {"content": [{"type": "text", "text": "31"}]})
        await provider.answer(await provider.next(), completion(content="Hot."))
        said = await task
        assert (said.comments > 3) == (comments == "on") and said.payloads[-1] == b"[DONE]"


async def test_an_answer_that_takes_long_is_not_taken_for_lost(redis_real):
    async with agent(redis_real, replica_ttl_seconds=0.5) as (broker, provider):
        task = asked(broker.chat(AGENT, messages=HELLO))
        await lists(provider)
        frame = await provider.next()
        ended, _ = await asyncio.wait({task}, timeout=1.5)
        assert not ended
        await provider.answer(frame, completion(content="Hot."))
        assert (await task)[0] == 200


async def test_the_time_in_line_is_no_time_of_the_llm(redis_at):
    async with agent(redis_at) as (broker, provider):
        held = asked(broker.chat(AGENT, messages=HELLO))
        await lists(provider)
        frame = await provider.next()
        task = asked(broker.call("POST", "/api/chat", {"model": AGENT, "messages": HELLO, "stream": False}))
        await asyncio.wait({task}, timeout=0.3)
        await provider.answer(frame, completion(content="done"))
        await provider.answer(await provider.next(), completion(content="Hot."))
        body = (await task)[1]
        assert (await held)[0] == 200 and body["load_duration"] > 100_000_000 > body["eval_duration"]


async def test_a_client_in_line_hears_its_place(redis_at):
    async with agent(redis_at, comment_first_seconds=0.5) as (broker, provider):
        holding = asked(broker.chat(AGENT, messages=HELLO))
        await lists(provider)
        held = await provider.next()
        response, first = await anext_of(broker)
        assert first.startswith(b": waiting, place 1, about ")
        await provider.answer(held, completion(content="done"))
        await holding
        await provider.answer(await provider.next(), completion(content="Hot."))
        assert b"Hot." in await response.read()


async def test_the_deadline_is_the_callers_for_all_that_an_agent_does(redis_real):
    async with agent(redis_real) as (broker, provider):
        task = asked(broker.chat(AGENT, messages=HELLO, headers={"X-Deadline-Seconds": "0.5"}))
        await lists(provider)
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        frame = await provider.next()
        status, body, _ = await task
        assert (status, body["error"]["code"]) == (504, "deadline_exceeded")
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped", "cancelled")


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("at", ["llm", "tool"])
async def test_a_client_that_leaves_stops_the_llm_and_the_tools(redis_at, at, streams):
    async with agent(redis_at) as (broker, provider):
        task = asked(stream(broker, AGENT, messages=HELLO) if streams else broker.chat(AGENT, messages=HELLO))
        await lists(provider)
        frame = await provider.next()
        if at == "tool":
            await provider.answer(frame, completion("tool_calls", content="Well.", tool_calls=calls(ROME)))
            frame = await provider.next()
        elif streams:
            await provider.chunk(frame, chunk(content="It"))
        task.cancel()
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped", "cancelled")
        await eventually(lambda: not broker.broker.post.exchanges)


async def test_a_client_that_reads_too_slowly_is_cut_off(redis_real):
    async with agent(redis_real, client_buffer_bytes=200_000) as (broker, provider):
        host, port = broker.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1024)
        body = json.dumps({"model": AGENT, "messages": HELLO, "stream": True}).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s" % (host.encode(), len(body), body))
        await lists(provider)
        frame = await provider.next()
        cancelled = asked(provider.next("cancel", 15))
        for _ in range(400):
            status, body, _ = await provider.chunk(frame, chunk(content="x" * 100_000))
            if status != 200 or body["cancelled"]:
                break
        word = await cancelled
        assert word["taskId"] == frame["taskId"] and word["reason"] == "client_too_slow"
        await provider.fail(frame, "stopped", "cancelled")
        writer.close()


async def test_a_broker_that_shuts_down_tells_those_who_wait_for_a_tool(redis_real):
    async with agent(redis_real) as (broker, provider):
        task = asked(broker.chat(AGENT, messages=HELLO))
        await lists(provider)
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        frame = await provider.next()
        await broker.broker.drain(0.05)
        status, body, _ = await task
        assert (status, body["error"]["code"]) == (503, "broker_stopped")
        await provider.fail(frame, "stopped", "cancelled")
