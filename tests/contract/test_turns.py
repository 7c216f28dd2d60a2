"""Turns that go well: what reaches the LLM, what is kept and answered, streaming or not, by virtual and public LLMs."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.agents import make_agent
from tests.support.backend import Backend
from tests.support.brokers import replica
from tests.support.messages import chunk, completion, usage_chunk
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.streams import asked
from tests.support.threads import BOT, KIND, ask, assistant, make_thread, messages, said, say, telling, thread_of, turn, under_way, user


async def test_an_answer_has_the_whole_turn(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        asking = asked(say(broker, thread, "hello"))
        frame = await provider.next()
        assert frame["llmName"] == "m" and frame["operation"] == "chat" and frame["streaming"] is False
        assert frame["request"]["messages"] == [KIND, user("hello")]
        await provider.answer(frame, completion(content="hi", usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}))
        status, body, headers = await asking
        assert status == 200 and headers["X-Turn-Index"] == "1" and headers["X-Request-Id"] == frame["taskId"]
        assert (body["threadId"], body["turnIndex"], body["status"], body["finishReason"], body["warnings"]) == (thread, 1, "complete", "stop", [])
        assert body["usage"]["total_tokens"] == 10 and body["error"] is None
        assert said(body["messages"]) == [(1, "user", "hello", "complete"), (1, "assistant", "hi", "complete")]
        assert body["message"] == body["messages"][-1]
        assert body["messages"] == await messages(broker, thread)
        body.pop("warnings")
        assert body == await turn(broker, thread)
        assert (await thread_of(broker, thread))["running"] is None


async def test_a_turn_knows_what_was_said_before_in_the_words_that_it_was_said(redis_at):
    parts = [{"type": "text", "text": "look: 1.0, 1e3"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}, "vendor": [], "n": 1.0}]
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await ask(broker, provider, thread, parts, "hi\nthere £")
        request = await ask(broker, provider, thread, "and?")
        assert request["messages"] == [KIND, {"role": "user", "content": parts}, assistant("hi\nthere £"), user("and?")]
        assert repr(request["messages"][1]["content"][1]["n"]) == "1.0"
        assert (await messages(broker, thread))[0]["content"] == parts


async def test_a_stream_tells_each_word_when_it_is_said(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread, "one ", "two") as telling_now:
            assert telling_now.frame["streaming"] is True
            assert telling_now.stream.headers["Content-Type"].startswith("text/event-stream")
            assert telling_now.stream.headers["X-Turn-Index"] == "1"
            assert (await thread_of(broker, thread))["running"] == 1
            assert said(await messages(broker, thread)) == [(1, "user", "hello", "pending")]
            await provider.chunk(telling_now.frame, chunk("stop"))
            await provider.chunk(telling_now.frame, usage_chunk(5, 2))
            await provider.chunk(telling_now.frame, "[DONE]", done=True)
            (final,) = await telling_now.stream.rest()
        assert (final.id, final.name) == (3, "final")
        shown = await turn(broker, thread)
        assert final.data == {
            "threadId": thread, "turnIndex": 1, "status": "complete", "message": shown["message"], "finishReason": "stop", "usage": shown["usage"],
        }
        assert shown["message"]["content"] == "one two" and shown["usage"]["completion_tokens"] == 2


async def test_thoughts_are_told_and_not_kept(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)

        async def play():
            frame = await provider.next()
            await provider.chunk(frame, chunk(reasoning_content="hm"))
            await provider.chunk(frame, chunk(content="yes"))
            await provider.chunk(frame, "[DONE]", done=True)

        playing = asked(play())
        async with telling(broker, thread) as stream:
            found = await stream.rest()
        await playing
        assert [(event.id, event.name) for event in found] == [(1, "reasoning"), (2, "text"), (3, "final")]
        assert found[0].data == {"text": "hm"} and found[2].data["message"]["content"] == "yes"


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_public_llm_answers_as_well(redis_at, streaming):
    async with Backend() as backend, replica(redis_at, **HERE) as broker:
        await make_llm(broker, "gpt", backend.url, model="gpt-5")
        await make_agent(broker, "bot", "gpt", systemPrompt="be kind", defaultParams={"temperature": 0.5})
        thread = await make_thread(broker)
        if streaming:
            async with telling(broker, thread) as stream:
                found = await stream.rest()
            assert found[-1].name == "final" and found[0].name == "text"
        else:
            status, body, _ = await say(broker, thread)
            assert status == 200, body
        shown = await turn(broker, thread)
        assert shown["status"] == "complete" and shown["message"]["content"]
        request = json.loads(backend.seen[-1].body)
        assert request["model"] == "gpt-5" and request["messages"] == [KIND, user("hello")] and request["temperature"] == 0.5


async def test_parameters_are_laid_over_one_another_and_what_is_the_brokers_is_left(redis_at):
    agents = [{**BOT[0], "defaultParams": {"temperature": 0.2, "top_p": 0.9, "max_tokens": 5}}]
    async with replica(redis_at) as broker, Provider(broker, "m", agents=agents) as provider:
        thread = await make_thread(broker)
        request = await ask(broker, provider, thread, params={"temperature": 1, "max_completion_tokens": 9, "vendor": [1.0]})
        assert {name: request.get(name) for name in ("temperature", "top_p", "max_tokens", "max_completion_tokens", "vendor")} == {
            "temperature": 1, "top_p": 0.9, "max_tokens": None, "max_completion_tokens": 9, "vendor": [1.0],
        }


async def test_a_turn_may_have_another_personality_or_none(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        for name, content in (("calm", "be calm"), ("loud", "be loud")):
            _, prompt, _ = await broker.call("POST", "/api/v1/prompts", {"name": name, "content": content})
            status, row, _ = await broker.call("POST", "/api/v1/personalities", {"name": name, "prompts": [prompt["id"]]})
            assert status == 201, row
        await make_agent(broker, "bot", "m", systemPrompt="be kind", defaultPersonality="calm")
        thread = await make_thread(broker)
        for given, content in (({}, "be kind\n\nbe calm"), ({"personality": "loud"}, "be kind\n\nbe loud"), ({"personality": {"name": "loud"}}, "be kind\n\nbe loud"), ({"personality": None}, "be kind")):
            request = await ask(broker, provider, thread, **given)
            assert request["messages"][0]["content"] == content
        status, body, _ = await say(broker, thread, personality="nobody")
        assert status == 404 and "'nobody'" in body["error"]["message"]
        assert (await thread_of(broker, thread))["running"] is None and len(await messages(broker, thread)) == 8


async def test_an_edit_of_the_agent_counts_from_the_next_turn_on(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m", systemPrompt="old")
        thread = await make_thread(broker)
        assert (await ask(broker, provider, thread))["messages"][0]["content"] == "old"
        await broker.call("PATCH", "/api/v1/agents/bot", {"systemPrompt": "new"})
        assert (await ask(broker, provider, thread))["messages"][0]["content"] == "new"


BAD = [
    ({}, 422, "content"), ({"content": ""}, 422, "content"), ({"content": []}, 422, "content"), ({"content": None}, 422, "content"),
    ({"content": 5}, 422, "content"), ({"content": ["x"]}, 422, "content"), ({"content": [{"text": "x"}]}, 422, "content"),
    ({"content": "x", "maxIterations": 0}, 422, "maxIterations"), ({"content": "x", "maxIterations": 33}, 422, "maxIterations"),
    ({"content": "x", "messages": []}, 422, "messages"), ({"content": "x", "stream": "yes"}, 400, None), ({"content": "x", "params": []}, 400, None),
    *(({"content": "x", "params": {name: 1}}, 422, "params") for name in ("model", "messages", "stream", "tools", "functions", "n")),
    (b"", 400, None), (b"{", 400, None), (b'{"content": "\xff"}', 400, None), (b'{"content": %s}' % (b"[" * 5000), 400, None),
]


@pytest.mark.parametrize(("body", "status", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_a_turn_that_is_not_possible_is_refused_and_leaves_nothing(redis_real, body, status, param):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT):
        thread = await make_thread(broker)
        got, answer, _ = await broker.call("POST", f"/api/v1/threads/{thread}/turns", body)
        assert (got, answer["error"]["param"]) == (status, param), answer
        assert await messages(broker, thread) == []


async def test_a_second_turn_while_one_runs_is_409_naming_it(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        async with under_way(broker, provider, thread) as telling_now:
            status, body, _ = await say(broker, thread)
            assert status == 409 and body["error"]["code"] == "turn_running" and "Turn 1 " in body["error"]["message"]
            await telling_now.finish()
            assert (await telling_now.stream.rest())[-1].name == "final"
        await ask(broker, provider, thread)
        assert [one["turnIndex"] for one in await messages(broker, thread)] == [1, 1, 2, 2]


async def test_a_thread_that_has_become_too_long_is_413_and_keeps_nothing(redis_at):
    async with replica(redis_at, max_request_bytes=4000) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await ask(broker, provider, thread, "x" * 1500)
        await ask(broker, provider, thread, "x" * 1500)
        status, body, _ = await say(broker, thread, "x" * 1500)
        assert status == 413 and body["error"]["code"] == "thread_too_long" and "4,000" in body["error"]["message"]
        assert len(await messages(broker, thread)) == 4 and (await thread_of(broker, thread))["running"] is None
        await ask(broker, provider, thread, "short")


async def test_many_threads_of_one_agent_answer_at_once(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT, slots=8) as provider:
        threads = [await make_thread(broker) for _ in range(6)]
        asking = [asked(say(broker, thread, f"q{number}")) for number, thread in enumerate(threads)]
        for _ in threads:
            frame = await provider.next()
            await provider.answer(frame, completion(content=frame["request"]["messages"][-1]["content"] + "!"))
        for number, (status, body, _) in enumerate(await asyncio.gather(*asking)):
            assert status == 200 and body["message"]["content"] == f"q{number}!"
