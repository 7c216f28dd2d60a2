"""Durable tasks of agents with tools: an attempt is the whole loop, run by the replica that claimed it."""

from __future__ import annotations

import json

import pytest

from tests.contract.test_agents_with_tools import AGENT, agent, calls_rome, lists
from tests.contract.test_may_wake import quiet_token
from tests.support.agents import make_agent
from tests.support.brokers import replica
from tests.support.conversing import calls, stream_to
from tests.support.jobs import SOON, TASKS, check_kept_in_order, events, result, states, submit, task, until
from tests.support.library import make_project
from tests.support.messages import HELLO, chunk, completion
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens
from tests.support.tool_servers import ToolProvider
from tests.support.waiting import eventually

ASKED = {"messages": HELLO}
ROME = ("call_1", "home__weather", '{"city": "Rome"}')


async def over(place) -> None:
    """Nothing is left of loops."""

    async def free() -> bool:
        keys = [key.decode() for key in await place.keys()]
        left = [key for key in keys if key.startswith(("leases:", "waiting:", "task:job_", "loops:"))]
        return not left

    await eventually(free)
    await check_kept_in_order(place)


async def test_an_attempt_is_the_whole_loop_and_its_answer_the_result(redis_at):
    async with agent(redis_at, **SOON) as (broker, provider):
        made = await submit(broker, AGENT, request={**ASKED, "temperature": 0})
        first = await calls_rome(provider, content="Let me look.")
        assert first["request"]["messages"] == [{"role": "system", "content": "be kind"}, *HELLO]
        assert (first["request"]["temperature"], first["request"]["top_p"]) == (0, 0.9)
        assert (await task(broker, made["id"]))["state"] == "running"
        second = await provider.next()
        assert second["request"]["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "31 degrees"}
        await provider.answer(second, completion(content="It is hot."))
        done = await until(broker, made["id"], "done")
        assert [(one["llm"], one["status"], one["code"]) for one in done["attempts"]] == [("m", 200, None)]
        status, body, headers = await result(broker, made["id"])
        said = json.loads(body)
        assert status == 200 and headers["Content-Type"].startswith("application/json") and said["model"] == AGENT
        assert said["choices"][0]["message"]["content"] == "Let me look.\n\nIt is hot." and said["usage"]["total_tokens"] == 20
        await over(redis_at)


async def test_a_stream_of_one_is_followed_and_read_at_any_replica(redis_at):
    async with agent(redis_at, **SOON) as (broker, provider), replica(redis_at, **SOON) as other:
        made = await submit(other, AGENT, request={**ASKED, "stream": True})
        await calls_rome(provider)
        await stream_to(provider, await provider.next(), chunk(content="It is "), chunk("stop", content="hot."))
        for one in (broker, other):
            await until(one, made["id"], "done")
            heard = await events(one, made["id"])
            assert states(heard) == ["queued", "running", "done"]
            pieces = [json.loads(payload)["choices"] for _, kind, payload in heard if not kind and payload != b"[DONE]"]
            assert "".join(piece[0]["delta"].get("content", "") for piece in pieces) == "It is hot."
        assert (await result(other, made["id"]))[1].endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("at", ["llm", "tool"])
async def test_a_cancel_stops_the_loop_wherever_it_is(redis_at, at):
    async with agent(redis_at, **SOON) as (broker, provider):
        made = await submit(broker, AGENT, request=ASKED)
        await lists(provider)
        frame = await provider.next()
        if at == "tool":
            await provider.answer(frame, completion("tool_calls", tool_calls=calls(ROME)))
            frame = await provider.next()
        assert frame["llmName"] == {"llm": "m", "tool": "_tools/home"}[at]
        assert (await broker.call("DELETE", f"{TASKS}/{made['id']}"))[1]["state"] == "cancelled"
        stop = await provider.next("cancel")
        assert stop["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")
        assert (await task(broker, made["id"]))["state"] == "cancelled"
        await over(redis_at)


async def test_a_loop_that_is_lost_is_run_again_at_another_llm_of_its_model(redis_at):
    async with (
        replica(redis_at, **SOON) as broker, ToolProvider(broker, "home") as tools,
        Provider(broker, "a", model="qwen") as one, Provider(broker, "b", model="qwen") as other,
    ):
        await make_project(broker, "house", mcpServers=[{"name": "home", "toolServer": "home"}])
        await make_agent(broker, "bot", model="qwen", project="house")
        made = await submit(broker, AGENT, request=ASKED)
        await tools.answer(await tools.next(), {"tools": [{"name": "weather", "inputSchema": {"type": "object"}}]})
        await one.answer(await one.next(), completion("tool_calls", tool_calls=calls(ROME)))
        used = await tools.next()
        await one.close()
        await broker.until_status("a", "inactive")
        await tools.answer(used, {"content": [{"type": "text", "text": "31"}]})
        again = await other.next()
        assert again["request"]["messages"] == HELLO
        await other.answer(again, completion(content="It is hot."))
        done = await until(broker, made["id"], "done")
        assert [(attempt["llm"], attempt["code"]) for attempt in done["attempts"]] == [("a", "publisher_offline"), ("b", None)]
        await over(redis_at)


async def test_a_replica_that_is_shut_down_leaves_its_loop_to_another(redis_at):
    async with replica(redis_at, **SOON) as other, ToolProvider(other, "home", llms=("m",)) as provider:
        await make_project(other, "house", mcpServers=[{"name": "home", "toolServer": "home"}])
        await make_agent(other, "bot", "m", project="house")
        other.broker.durable._claimer.stop()
        async with replica(redis_at, **SOON, shutdown_seconds=0.1) as broker:
            made = await submit(broker, AGENT, request=ASKED)
            await provider.answer(await provider.next(), {"tools": []})
            first = await provider.next()
            other.broker.durable._claimer._stopped = False
            await broker.broker.drain(0.05)
            assert (await provider.next("cancel"))["taskId"] == first["taskId"]
        await provider.fail(first, "stopped")
        frame = await provider.next()
        if frame["llmName"] == "_tools/home":
            await provider.answer(frame, {"tools": []})
            frame = await provider.next()
        await provider.answer(frame, completion(content="It is hot."))
        done = await until(other, made["id"], "done")
        assert [attempt["code"] for attempt in done["attempts"]] == ["broker_stopped", None]
        await over(redis_at)


async def test_a_loop_of_a_replica_that_dies_is_run_anew_by_another(redis_at):
    settings = {**SOON, "replica_ttl_seconds": 0.3}
    async with replica(redis_at, **settings) as one:
        async with replica(redis_at, **settings) as two, ToolProvider(two, "home", llms=("m",)) as provider:
            two.broker.durable._claimer.stop()
            await make_project(one, "house", mcpServers=[{"name": "home", "toolServer": "home"}])
            await make_agent(one, "bot", "m", project="house")
            made = await submit(one, AGENT, request=ASKED)
            await provider.answer(await provider.next(), {"tools": [{"name": "weather", "inputSchema": {"type": "object"}}]})
            await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
            used = await provider.next()
            two.broker.durable._claimer._stopped = False
            await one.die()
            stopped = await provider.next("cancel")
            assert stopped["taskId"] == used["taskId"]
            await provider.fail(used, "stopped")
            await provider.answer(await provider.next(), {"tools": []})
            await provider.answer(await provider.next(), completion(content="It is hot."))
            done = await until(two, made["id"], "done")
            assert [attempt["code"] for attempt in done["attempts"]] == ["broker_lost", None]
            await over(redis_at)


async def test_as_many_loops_run_at_an_llm_as_it_has_slots_and_others_have_the_slot_meanwhile(redis_at):
    async with agent(redis_at, **SOON) as (broker, provider):
        jobs = [(await submit(broker, AGENT, request=ASKED))["id"] for _ in range(3)]
        await lists(provider)
        ask = await provider.next()
        await provider.answer(ask, completion("tool_calls", tool_calls=calls(ROME)))
        used = await provider.next()
        assert len(await redis_at.read("loops:m")) == 1 and used["llmName"] == "_tools/home"
        chat = asked(broker.chat("m", messages=HELLO))
        plain = await provider.next()
        assert plain["request"]["messages"] == HELLO
        await provider.answer(plain)
        assert (await chat)[0] == 200
        running = [one for one in jobs if (await task(broker, one))["state"] == "running"]
        assert len(running) == 1
        await provider.answer(used, {"content": []})
        for _ in jobs:
            await provider.answer(await provider.next(), completion(content="hot"))
        for one in jobs:
            await until(broker, one, "done")
        await over(redis_at)


async def test_a_loop_stands_in_line_like_any_task_and_its_time_begins_afterwards(redis_at):
    async with agent(redis_at, **SOON, idle_seconds=0.2, queue_wait_seconds=0.2) as (broker, provider):
        chat = asked(broker.chat("m", messages=HELLO, headers={"X-Deadline-Seconds": "30"}))
        busy = await provider.next()
        made = await submit(broker, AGENT, request=ASKED, priority="batch")
        await lists(provider)

        async def waits() -> bool:
            waiting = await redis_at.read("waiting:m")
            return bool(waiting) and waiting[0][0].decode() == f"{made['id']}.1.ask"

        await eventually(waits)
        found = await task(broker, made["id"])
        assert (found["state"], found["position"]) == ("queued", 0)
        assert (await redis_at.read(f"task:{made['id']}.1.ask"))[b"priority"] == b"batch"

        async def looked_at() -> bool:
            return b"started" in await redis_at.read(f"task:{made['id']}.1")

        await eventually(looked_at)
        await provider.answer(busy)
        await provider.answer(await provider.next(), completion(content="It is hot."))
        assert (await chat)[0] == 200
        await until(broker, made["id"], "done")


async def test_an_llm_that_sleeps_is_woken_for_a_loop(redis_at):
    async with agent(redis_at, **SOON) as (broker, provider):
        status = {"providerSessionId": provider.session, "llmName": "m", "status": "hibernating"}
        assert (await provider.post("/_provider-status", status))[0] == 200
        made = await submit(broker, AGENT, request=ASKED)
        await lists(provider)
        await provider.answer(await provider.next("wake"), {"ok": True})
        await provider.answer(await provider.next(), completion(content="Good morning."))
        await until(broker, made["id"], "done")


async def test_one_that_may_not_wake_waits_when_its_llm_falls_asleep_between_two_answers(redis_at):
    async with (
        tokens(redis_at, pub="publisher", ann="client+admin") as given, quiet_token(redis_at) as quiet,
        replica(redis_at, **SOON) as broker, ToolProvider(broker, "home", llms=("m",), token=given.pub) as provider,
    ):
        ann, headers = bearer(given.ann), bearer(quiet)
        await make_project(broker, "house", mcpServers=[{"name": "home", "toolServer": "home"}], headers=ann)
        await make_agent(broker, "bot", "m", project="house", headers=ann)
        made = await submit(broker, AGENT, request=ASKED, headers=headers)
        await lists(provider)
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        used = await provider.next()
        status = {"providerSessionId": provider.session, "llmName": "m", "status": "hibernating"}
        assert (await provider.post("/_provider-status", status))[0] == 200
        await provider.answer(used, {"content": []})

        async def waits() -> bool:
            found = await task(broker, made["id"], headers)
            return found["state"] == "queued" and [one["code"] for one in found["attempts"]] == ["wake_forbidden"]

        await eventually(waits)
        assert provider.frames.empty()
        assert (await provider.post("/_provider-status", {**status, "status": "active"}))[0] == 200
        await provider.answer(await provider.next(), completion(content="Good morning."))

        async def done() -> bool:
            return (await task(broker, made["id"], headers))["state"] == "done"

        await eventually(done)


@pytest.mark.parametrize("request_", [{"messages": "hi"}, {**ASKED, "n": 2}, {**ASKED, "tools": 5}])
async def test_a_request_that_a_loop_cannot_answer_fails_without_an_attempt(redis_at, request_):
    async with agent(redis_at, **SOON) as (broker, _):
        made = await submit(broker, AGENT, request=request_)
        failed = await until(broker, made["id"], "failed")
        assert failed["error"]["code"] == "invalid_request" and failed["attempts"] == []
        await over(redis_at)


@pytest.mark.parametrize("name", ["bot", "plain"])
async def test_an_agent_has_no_embeddings(redis_real, name):
    async with agent(redis_real, **SOON) as (broker, _):
        await make_agent(broker, "plain", "m")
        made = await submit(broker, f"agent/{name}", request={"input": "x"}, operation="embeddings")
        failed = await until(broker, made["id"], "failed")
        assert "only chats" in failed["error"]["message"] and failed["attempts"] == []


async def test_an_llm_that_calls_tools_for_ever_ends_its_task_at_once(redis_at):
    async with agent(redis_at, **SOON, max_iterations=1) as (broker, provider):
        made = await submit(broker, AGENT, request=ASKED)
        await lists(provider)
        await provider.answer(await provider.next(), completion("tool_calls", tool_calls=calls(ROME)))
        failed = await until(broker, made["id"], "failed")
        assert failed["error"]["code"] == "max_iterations" and len(failed["attempts"]) == 1
        assert (await result(broker, made["id"]))[0] == 404
        await over(redis_at)


async def test_what_the_llms_server_refuses_is_no_reason_to_try_again_but_its_failure_is(redis_at):
    async with agent(redis_at, **SOON) as (broker, provider):
        made = await submit(broker, AGENT, request=ASKED)
        await lists(provider)
        await provider.answer(await provider.next(), {"error": {"message": "busy"}}, status=500)
        await provider.answer(await provider.next(), {"error": {"message": "too long", "code": "too_long"}}, status=400)
        failed = await until(broker, made["id"], "failed")
        assert [(one["status"], one["code"]) for one in failed["attempts"]] == [(500, "backend_error"), (400, "too_long")]
        assert failed["error"] == {"code": "too_long", "message": "too long"}
