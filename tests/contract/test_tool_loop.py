"""The loop of an agent with tools: asked, called, asked again; how it ends, and what it leaves at the LLM."""

from __future__ import annotations

import asyncio

import pytest

from broker.chat.pieces import Reasoning, Text, ToolCall, ToolResult, Warn
from broker.errors import AgentLLMMissing, BackendFailed, DeadlineExceeded, PublisherOffline, Relayed
from tests.support.brokers import replica
from tests.support.conversing import ASK, Answer, Box, calls, conversing, saying, spec, stream_to
from tests.support.messages import call_piece, chunk, completion, usage_chunk
from tests.support.provider import BASE, Provider
from tests.support.waiting import eventually

ROME = ("call_1", "weather", '{"city": "Rome"}')


async def test_a_tool_that_the_llm_calls_is_run_and_its_result_sent_back(redis_at):
    box = Box({"weather": saying("31 degrees")})
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, box, fields={"temperature": 0.5})
        first = await provider.next()
        assert first["request"] == {"temperature": 0.5, "tools": [spec("weather")], "messages": [ASK], "stream": False}
        await provider.answer(first, completion("tool_calls", content="Let me look.", tool_calls=calls(ROME)))
        second = await provider.next()
        asked = {"role": "assistant", "content": "Let me look.", "tool_calls": calls(ROME)}
        told = {"role": "tool", "tool_call_id": "call_1", "content": "31 degrees"}
        assert second["request"]["messages"] == [ASK, asked, told]
        assert (first["taskId"], second["taskId"]) == ("req_asked", "req_asked.2")
        await provider.answer(second, completion(content="It is hot."))
        outcome = await run.outcome()
        assert box.called == [("weather", {"city": "Rome"})]
        assert run.said == [asked, told, {"role": "assistant", "content": "It is hot."}] and len(outcome.messages) == 3
        assert run.heard == [
            Text("Let me look."), ToolCall(*ROME), ToolResult("call_1", "weather", "31 degrees", False), Text("It is hot."),
        ]
        assert outcome.finish_reason == "stop"
        assert outcome.usage == {
            "prompt_tokens": 14, "completion_tokens": 6, "total_tokens": 20, "prompt_tokens_details": {"cached_tokens": 0},
        }


async def test_a_streamed_answer_is_heard_as_it_comes(redis_at):
    box = Box({"weather": saying("31 degrees")}, warnings=["the tool server 'maps' is away"])
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, box, streaming=True)
        frame = await provider.next()
        assert frame["request"]["stream"] is True and frame["request"]["stream_options"] == {"include_usage": True}
        await provider.chunk(frame, chunk(reasoning_content="Hm."))
        await eventually(lambda: run.heard == [Warn("the tool server 'maps' is away"), Reasoning("Hm.")])
        await provider.chunk(frame, chunk(tool_calls=[call_piece(0, "call_1", "weather", '{"city":')]))
        await stream_to(
            provider, frame, chunk(tool_calls=[call_piece(0, arguments=' "Rome"}')]), chunk("tool_calls"), usage_chunk(5, 2, 1)
        )
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="It "))
        await eventually(lambda: run.heard[-1] == Text("It "))
        assert ToolCall(*ROME) in run.heard and not run.task.done()
        await stream_to(provider, frame, chunk("stop", content="is hot."), usage_chunk(9, 4))
        outcome = await run.outcome()
        assert run.said[-1] == {"role": "assistant", "content": "It is hot."}
        assert outcome.usage["total_tokens"] == 20 and outcome.usage["prompt_tokens_details"] == {"cached_tokens": 1}


async def test_an_agent_without_tools_is_asked_once(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box(), max_iterations=1)
        frame = await provider.next()
        assert frame["request"] == {"messages": [ASK], "stream": False}
        await provider.answer(frame, {**completion("length", content="It"), "model": "qwen3"})
        outcome = await run.outcome()
        assert (outcome.finish_reason, outcome.model, len(outcome.messages)) == ("length", "qwen3", 1)


async def test_calls_of_one_answer_run_at_once_and_their_results_keep_the_calls_order(redis_real):
    both = asyncio.Barrier(2)

    async def meets(given: dict) -> Answer:
        await both.wait()
        return Answer(given["city"])

    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": meets}))
        named = calls(ROME, ("call_2", "weather", '{"city": "Oslo"}'))
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=named))
        frame = await provider.next()
        assert [one.get("content") for one in frame["request"]["messages"][2:]] == ["Rome", "Oslo"]
        await provider.answer(frame, completion(content="hot and cold"))
        await run.outcome()


async def test_no_more_than_eight_tools_run_at_once(redis_real):
    running = most = 0
    go = asyncio.Event()

    async def counts(_: dict) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1
        return Answer("")

    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"slow": counts}))
        named = calls(*((f"call_{number}", "slow", "{}") for number in range(20)))
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=named))
        await eventually(lambda: running == 8)
        go.set()
        await provider.answer(await provider.next(), completion(content="done"))
        await run.outcome()
        assert most == 8


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("wether", "{}", "There is no tool 'wether'; there are: weather."),
        ("weather", '{"city": ', "must be one JSON object"),
        ("weather", '["Rome"]', "must be one JSON object"),
    ],
)
async def test_a_call_that_cannot_be_made_is_told_to_the_llm_and_the_loop_goes_on(redis_at, name, arguments, why):
    box = Box({"weather": saying("31 degrees")})
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, box)
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(("call_1", name, arguments))))
        frame = await provider.next()
        asked, told = frame["request"]["messages"][1:]
        assert told["tool_call_id"] == "call_1" and why in told["content"]
        # Servers read the arguments of earlier calls again.
        assert asked["tool_calls"][0]["function"]["arguments"] == "{}"
        await provider.answer(frame, completion(content="sorry"))
        await run.outcome()
        assert not box.called and run.heard[0] == ToolCall("call_1", name, arguments.strip())
        assert run.heard[1].is_error


async def test_a_tool_that_fails_is_told_to_the_llm_as_well(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": saying("no such city \ud83d", is_error=True)}))
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        frame = await provider.next()
        assert frame["request"]["messages"][-1]["content"] == "no such city ?"
        await provider.answer(frame, completion(content="sorry"))
        await run.outcome()
        assert run.heard[1] == ToolResult("call_1", "weather", "no such city ?", True)


async def test_the_last_answer_is_to_call_no_tool_and_one_that_does_is_refused(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": saying("31")}), max_iterations=2, fields={"tool_choice": "required"})
        frame = await provider.next()
        assert frame["request"]["tool_choice"] == "required"
        await provider.answer(frame, completion("tool_calls", tool_calls=calls(ROME)))
        frame = await provider.next()
        assert frame["request"]["tool_choice"] == "none" and frame["request"]["tools"]
        await provider.answer(frame, completion("tool_calls", tool_calls=calls(ROME)))
        with pytest.raises(BackendFailed, match="2 answers") as refused:
            await run.outcome()
        assert (refused.value.status, refused.value.code) == (502, "max_iterations")


async def test_a_tool_that_must_be_called_must_so_but_once(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": saying("31")}), fields={"tool_choice": "required"})
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        frame = await provider.next()
        assert "tool_choice" not in frame["request"]
        await provider.answer(frame, completion(content="hot"))
        await run.outcome()


async def test_a_call_of_the_callers_own_tool_ends_the_run(redis_at):
    box = Box({"weather": saying("31")})
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, box, fields={"tools": [spec("paint")]}, callers=("paint",))
        frame = await provider.next()
        assert frame["request"]["tools"] == [spec("paint"), spec("weather")]
        named = calls(ROME, ("call_2", "paint", "{}"))
        await provider.answer(frame, completion("tool_calls", content="I paint.", tool_calls=named))
        outcome = await run.outcome()
        assert outcome.calls == (ToolCall("call_2", "paint", "{}"),) and outcome.finish_reason == "tool_calls"
        assert run.said == [{"role": "assistant", "content": "I paint.", "tool_calls": calls(("call_2", "paint", "{}"))}]
        assert not box.called


async def test_servers_that_count_their_calls_anew_with_each_answer_get_other_ids(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": saying("31")}))
        for _ in range(2):
            await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        frame = await provider.next()
        first, second = (one["tool_calls"][0]["id"] for one in frame["request"]["messages"] if "tool_calls" in one)
        results = [one["tool_call_id"] for one in frame["request"]["messages"] if one["role"] == "tool"]
        assert first == "call_1" != second and results == [first, second]
        await provider.answer(frame, completion(content="hot"))
        await run.outcome()


async def test_the_llms_own_refusal_ends_the_run_with_its_reason(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": saying("31")}), streaming=True)
        error = {"error": {"message": "this model has no tools", "type": "invalid", "code": "no_tools"}}
        await provider.answer(await provider.next(), error, status=429, headers={"retry-after": "7"})
        with pytest.raises(Relayed, match="this model has no tools") as refused:
            await run.outcome()
        assert (refused.value.status, refused.value.code, refused.value.retry_after_s) == (429, "no_tools", 7)


async def test_an_error_in_midstream_ends_the_run_and_what_was_said_is_not_an_answer(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box(), streaming=True)
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="It is"))
        await provider.fail(frame, "the backend closed the stream")
        with pytest.raises(Relayed, match="closed the stream"):
            await run.outcome()
        assert run.heard == [Text("It is")] and not run.said


@pytest.mark.parametrize("body", [{"ok": True}, [], "text", {"choices": []}])
async def test_an_answer_that_is_none_is_502(redis_real, body):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box())
        await provider.answer(await provider.next(), body)
        with pytest.raises(BackendFailed):
            await run.outcome()


async def test_more_than_its_caller_takes_is_502_over_all_answers(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": saying("31")}), answer_bytes=3000)
        await provider.answer(await provider.next(), completion("tool_calls", content="x" * 2000, tool_calls=calls(ROME)))
        await provider.answer(await provider.next(), completion(content="x" * 2000))
        with pytest.raises(BackendFailed, match="larger than"):
            await run.outcome()


async def test_hundreds_of_calls_in_one_answer_are_502(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": saying("31")}))
        named = calls(*((f"call_{number}", "weather", "{}") for number in range(129)))
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=named))
        with pytest.raises(BackendFailed, match="more than 128 tools"):
            await run.outcome()


async def test_the_deadline_is_one_for_all_that_the_run_does(redis_real):
    started, hangs = asyncio.Event(), asyncio.Event()

    async def hang(_: dict) -> Answer:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            hangs.set()

    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": hang}), deadline_s=1.5)
        frame = await provider.next()
        assert frame["deadlineMs"] <= 1500
        await provider.answer(frame, completion("tool_calls", tool_calls=calls(ROME)))
        await started.wait()
        with pytest.raises(DeadlineExceeded):
            await run.outcome()
        assert hangs.is_set()


async def test_a_later_ask_has_only_the_time_that_is_left(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": saying("31")}), deadline_s=5)
        frame = await provider.next()
        await provider.answer(frame, completion("tool_calls", tool_calls=calls(ROME)))
        later = await provider.next()
        assert later["deadlineMs"] < frame["deadlineMs"]
        await provider.answer(later, completion(content="hot"))
        await run.outcome()


async def test_a_cancelled_run_stops_the_llm(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box(), streaming=True)
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="It"))
        await eventually(lambda: run.heard)
        run.task.cancel()
        assert (await provider.next("cancel"))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped", "cancelled")


async def test_a_cancelled_run_stops_its_tools(redis_at):
    started, stopped = asyncio.Event(), asyncio.Event()

    async def hang(_: dict) -> Answer:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        run = conversing(broker, Box({"weather": hang}))
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        await started.wait()
        run.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run.outcome()
        assert stopped.is_set()


async def test_an_llm_that_goes_between_two_asks_ends_the_run(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "n") as provider:
        async def unpublish(_: dict) -> Answer:
            assert (await broker.call("DELETE", f"{BASE}/m"))[0] == 204
            return Answer("gone")

        run = conversing(broker, Box({"weather": unpublish}))
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        with pytest.raises(AgentLLMMissing):
            await run.outcome()


async def test_a_publisher_that_goes_between_two_asks_ends_the_run(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        async def leave(_: dict) -> Answer:
            await provider.close()
            await broker.until_status("m", "inactive")
            return Answer("gone")

        run = conversing(broker, Box({"weather": leave}))
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        with pytest.raises(PublisherOffline):
            await run.outcome()
