"""LLMs that are asked by one name: an alias, a pool, a model. Who is meant, who answers, and what is said of it."""

from __future__ import annotations

import pytest

from tests.support.agents import make_agent
from tests.support.backend import Backend, Script
from tests.support.brokers import replica
from tests.support.errors import told
from tests.support.jobs import SOON, submit, until
from tests.support.messages import HELLO, PATH, asking, completion
from tests.support.pools import make_pool
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.streams import asked, stream
from tests.support.threads import make_thread, say

SAID = {"id": "c", "choices": []}


async def served(broker, name: str, provider: Provider, **body) -> str:
    """Who answers a chat with that name; ``provider`` publishes all of them."""
    task = asked(broker.chat(name, **body))
    frame = await provider.next()
    await provider.answer(frame, SAID)
    status, said, headers = await task
    assert (status, said) == (200, SAID) and headers["X-Served-By"] == frame["llmName"]
    return frame["llmName"]


async def test_a_model_is_answered_by_a_live_llm_of_it(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="qwen3") as provider:
        assert await served(broker, "qwen3", provider) == "a"
        task = asked(stream(broker, "qwen3"))
        frame = await provider.next()
        assert frame["streaming"] and frame["request"]["model"] == "qwen3"
        await provider.chunk(frame, '{"x":1}')
        await provider.chunk(frame, "[DONE]", done=True)
        said = await task
        assert said.payloads == [b'{"x":1}', b"[DONE]"] and said.headers["X-Served-By"] == "a"


async def test_requests_at_once_go_to_different_members_also_over_replicas(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "a", "b", "c", model="qwen3") as provider:
        tasks = [asked(broker.chat("qwen3")) for broker in (one, two, one)]
        frames = [await provider.next() for _ in tasks]
        assert sorted(frame["llmName"] for frame in frames) == ["a", "b", "c"]
        for frame in frames:
            await provider.answer(frame, SAID)
        assert [(await task)[0] for task in tasks] == [200] * 3


async def test_a_name_comes_before_an_alias_an_alias_before_a_pool_a_pool_before_a_model_and_that_before_an_agent(redis_at):
    agents = [{"name": "x", "llmName": "e"}]
    async with replica(redis_at) as broker, Provider(broker, "e", agents=agents) as pinned:
        assert await named(broker, pinned) == "e"
        async with Provider(broker, "d", model="agent/x") as of_model:
            assert await served(broker, "agent/x", of_model, messages=HELLO) == "d"
            async with Provider(broker, "c") as in_pool:
                await make_pool(broker, "agent/x", "c")
                assert await served(broker, "agent/x", in_pool, messages=HELLO) == "c"
                async with Provider(broker, "b", aliases=["agent/x"]) as by_alias:
                    assert await served(broker, "agent/x", by_alias, messages=HELLO) == "b"
                    async with Provider(broker, "agent/x") as by_name:
                        assert await named(broker, by_name) == "agent/x"


async def named(broker, provider: Provider) -> str:
    """Who answers where no pool chose: nothing is said of that."""
    task = asked(broker.chat("agent/x", messages=HELLO))
    frame = await provider.next()
    await provider.answer(frame, SAID)
    status, _, headers = await task
    assert status == 200 and "X-Served-By" not in headers
    return frame["llmName"]


async def test_an_alias_of_llms_that_are_gone_hides_no_model(redis_at):
    timers = {"stale_seconds": 1.5, "expire_seconds": 0.1, "sweep_seconds": 1000}
    async with replica(redis_at, **timers) as broker, Provider(broker, "gone", aliases=["x"], connect=False):
        async with Provider(broker, "m", model="x") as provider:
            while (await broker.call("GET", "/api/v1/llms/gone"))[0] == 200:
                await provider.heartbeat()
            await provider.heartbeat()
            assert await served(broker, "x", provider) == "m"


async def test_completions_embeddings_and_the_other_fronts_ask_pools_too(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", model="qwen3") as provider:
        for path, body in (
            ("/v1/completions", {"prompt": "x"}), ("/v1/embeddings", {"input": "x"}), (PATH, asking("qwen3")),
            ("/api/chat", {"messages": HELLO, "stream": False}), ("/api/generate", {"prompt": "x", "stream": False}),
            ("/api/embed", {"input": "x"}),
        ):
            task = asked(broker.call("POST", path, {**body, "model": "qwen3"}))
            frame = await provider.next()
            assert frame["llmName"] == "a"
            answer = {"choices": [{"message": {"role": "assistant", "content": "hi"}}], "data": [{"embedding": [1.0]}]}
            await provider.answer(frame, answer)
            assert (await task)[2]["X-Served-By"] == "a", path


async def test_a_large_request_reaches_a_member_by_its_url(redis_at):
    async with replica(redis_at, inline_request_bytes=100) as broker, Provider(broker, "a", model="qwen3", slots=1) as provider:
        tasks = [asked(broker.chat("qwen3", pad="x" * 300, number=number)) for number in range(2)]
        for _ in tasks:
            frame = await provider.next()
            _, body, _ = await provider.replica.call("GET", frame["requestUrl"], headers=provider.headers)
            assert body["pad"] == "x" * 300
            await provider.answer(frame, SAID)
        assert [(await task)[0] for task in tasks] == [200, 200]


async def test_an_agent_with_a_model_asks_its_pool(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="qwen3", slots=1) as provider:
        await make_agent(broker, "bot", model="qwen3", systemPrompt="be kind")
        tasks = [asked(broker.chat("agent/bot", messages=HELLO)) for _ in range(2)]
        frames = [await provider.next() for _ in tasks]
        assert {frame["llmName"] for frame in frames} == {"a", "b"}
        for frame in frames:
            assert frame["request"]["messages"][0]["content"] == "be kind"
            await provider.answer(frame, SAID)
        assert {(await task)[2]["X-Served-By"] for task in tasks} == {"a", "b"}


async def test_an_agent_may_name_a_pool_by_calls_turns_and_durable_tasks(redis_at):
    async with replica(redis_at, **SOON) as broker, Provider(broker, "a", "b") as provider:
        await make_pool(broker, "smart", {"selector": {"name": "b*"}}, "gone")
        await make_agent(broker, "bot", model="smart")
        assert await served(broker, "agent/bot", provider, messages=HELLO) == "b"
        thread = await make_thread(broker)
        turn = asked(say(broker, thread))
        frame = await provider.next()
        await provider.answer(frame, completion(content="hi"))
        assert (frame["llmName"], (await turn)[0]) == ("b", 200)
        made = await submit(broker, "agent/bot", request={"messages": HELLO})
        await provider.answer(await provider.next(), SAID)
        assert [one["llm"] for one in (await until(broker, made["id"], "done"))["attempts"]] == ["b"]


async def test_an_agent_with_a_model_asks_the_model_and_no_alias_of_that_word(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "other", aliases=["qwen3"]):
        async with Provider(broker, "a", model="qwen3") as provider:
            await make_agent(broker, "bot", model="qwen3")
            assert await served(broker, "agent/bot", provider, messages=HELLO) == "a"


@pytest.mark.parametrize(("asked_for", "near"), [("qwem3", "qwen3"), ("lama", "llama"), ("agent/bott", "agent/bot"), ("poool", "pool")])
async def test_a_name_that_nobody_has_is_404_with_those_that_are_near(redis_at, asked_for, near):
    agents = [{"name": "bot", "llmName": "m"}]
    async with replica(redis_at) as broker, Provider(broker, "m", model="qwen3", aliases=["llama"], agents=agents):
        await make_pool(broker, "pool", "m")
        for path in ("/v1/chat/completions", PATH, "/api/chat"):
            status, body, _ = await broker.call("POST", path, asking(asked_for))
            assert status == 404 and told(body).code == "model_not_found" and repr(near) in told(body).message
        status, body, _ = await broker.call("GET", f"/v1/models/{asked_for}")
        assert status == 404 and repr(near) in body["error"]["message"]


async def test_a_name_that_is_near_to_none_says_where_the_list_is(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m"):
        status, body, _ = await broker.chat("zzzzzz")
        assert status == 404 and "/v1/models" in body["error"]["message"] and "Near" not in body["error"]["message"]


async def test_when_all_members_are_away_it_says_when_the_last_was_seen(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", model="qwen3") as provider:
        assert await served(broker, "qwen3", provider) == "a"
        await provider.close()
        await broker.until_status("a", "inactive")
        status, body, headers = await broker.chat("qwen3")
        assert status == 503 and body["error"]["code"] == "publisher_offline" and headers["Retry-After"]
        row = await broker.llm("a")
        assert row["lastHeartbeatAt"][:17] in body["error"]["message"]
        await provider.open()
        assert await served(broker, "qwen3", provider) == "a"


async def test_pools_are_listed_as_models_in_every_front(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", initialStatus="hibernating"):
        await make_pool(broker, "best", "m", {"selector": {"name": "x*"}}, description="d")
        await make_pool(broker, "m", "m")
        listed = {one["id"]: one for one in (await broker.call("GET", "/v1/models"))[1]["data"]}
        assert set(listed) == {"m", "best"} and listed["m"]["kind"] == "virtual"
        best = listed["best"]
        assert (best["kind"], best["status"], best["description"]) == ("pool", "hibernating", "d") and best["created"] > 0
        assert (await broker.call("GET", "/v1/models/best"))[1] == best
        theirs = {"anthropic-version": "2023-06-01"}
        assert [one["id"] for one in (await broker.call("GET", "/v1/models", headers=theirs))[1]["data"]] == ["m", "best"]
        assert {one["name"] for one in (await broker.call("GET", "/api/tags"))[1]["models"]} == {"m", "best"}
        status, shown, _ = await broker.call("POST", "/api/show", {"model": "best"})
        assert status == 200 and shown["details"]["family"] == "pool"
        assert (await broker.call("POST", f"{PATH}/count_tokens", asking("best")))[0] == 200


async def test_a_pool_of_public_virtual_and_sleeping_members(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend(Script(echo=True)) as upstream:
        await make_llm(broker, "cloud", upstream.url, model="qwen3")
        async with Provider(broker, "warm", model="qwen3", slots=1) as warm:
            async with Provider(broker, "asleep", model="qwen3", initialStatus="hibernating") as asleep:
                first = asked(broker.chat("qwen3"))
                frame = await warm.next()
                status, _, headers = await broker.chat("qwen3")
                assert status == 200 and headers["X-Served-By"] == "cloud"
                await warm.answer(frame, SAID)
                assert (await first)[2]["X-Served-By"] == "warm" and asleep.frames.empty()
                await warm.close()
                await broker.until_status("warm", "inactive")
                assert (await broker.chat("qwen3"))[2]["X-Served-By"] == "cloud"
                assert (await broker.call("DELETE", "/api/v1/llms/cloud"))[0] == 204
                last = asked(broker.chat("qwen3"))
                await asleep.answer(await asleep.next("wake"))
                await asleep.answer(await asleep.next(), SAID)
                assert (await last)[2]["X-Served-By"] == "asleep"
