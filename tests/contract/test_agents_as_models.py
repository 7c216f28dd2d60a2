"""Agents as models: ``agent/<name>`` in every front, with the agent's prompt and parameters, by its LLM."""

from __future__ import annotations

import pytest

from tests.support.agents import make_agent, shown
from tests.support.brokers import replica
from tests.support.errors import told
from tests.support.messages import HELLO, PATH, asking, chunk, completion, event_of, open_stream
from tests.support.provider import BASE, Provider
from tests.support.streams import asked, stream
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

KIND = {"role": "system", "content": "be kind"}
BOT = [{"name": "bot", "llmName": "m", "systemPrompt": "be kind", "defaultParams": {"temperature": 0.2, "top_p": 0.9}}]
SAID = {"id": "c", "model": "what the backend says", "choices": []}


async def request_of(broker, provider, model: str = "agent/bot", **body) -> dict:
    """What reaches the LLM of one chat with that agent."""
    task = asked(broker.chat(model, **{"messages": HELLO, **body}))
    frame = await provider.next()
    await provider.answer(frame, SAID)
    assert (await task)[:2] == (200, SAID)
    return frame


@pytest.mark.parametrize("kind", ["public", "virtual"])
async def test_the_prompt_goes_first_and_the_parameters_fill_in(redis_at, kind):
    agents = BOT if kind == "virtual" else []
    async with replica(redis_at) as broker, Provider(broker, "m", agents=agents) as provider:
        if kind == "public":
            await make_agent(broker, "bot", "m", systemPrompt="be kind", defaultParams={"temperature": 0.2, "top_p": 0.9})
        frame = await request_of(broker, provider, temperature=1, vendor={"a": None})
        assert frame["llmName"] == "m" and frame["operation"] == "chat"
        assert frame["request"] == {
            "model": "agent/bot", "messages": [KIND, *HELLO], "temperature": 1, "vendor": {"a": None}, "top_p": 0.9,
        }


async def test_a_callers_system_message_stays_after_the_agents(redis_at):
    own = {"role": "system", "content": "be quick"}
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        frame = await request_of(broker, provider, messages=[own, *HELLO])
        assert frame["request"]["messages"] == [KIND, own, *HELLO]


async def test_an_agent_streams(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        task = asked(stream(broker, "agent/bot", messages=HELLO))
        frame = await provider.next()
        assert frame["streaming"] is True and frame["request"]["messages"] == [KIND, *HELLO]
        await provider.chunk(frame, '{"a":1}')
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await task).payloads == [b'{"a":1}', b"[DONE]"]


async def test_an_edit_counts_from_the_next_call_on_also_at_another_replica(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m", "n") as provider:
        await make_agent(broker, "bot", "m", systemPrompt="old")
        assert (await request_of(other, provider))["request"]["messages"][0]["content"] == "old"
        await broker.call("PATCH", "/api/v1/agents/bot", {"systemPrompt": "new", "llm": "n"})
        frame = await request_of(other, provider)
        assert frame["request"]["messages"][0]["content"] == "new" and frame["llmName"] == "n"


@pytest.mark.parametrize("body", [{}, {"messages": "hi"}, {"messages": None}])
async def test_messages_that_are_none_are_400(redis_real, body):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT):
        status, answer, _ = await broker.call("POST", "/v1/chat/completions", {"model": "agent/bot", **body})
        assert status == 400 and answer["error"]["param"] == "messages"


@pytest.mark.parametrize("taken", ["name", "alias"])
async def test_an_llm_or_alias_of_just_that_name_comes_first(redis_at, taken):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT):
        more = {"aliases": ["agent/bot"]} if taken == "alias" else {}
        async with Provider(broker, "agent/bot" if taken == "name" else "other", **more) as other:
            frame = await request_of(broker, other)
            assert frame["request"]["messages"] == HELLO


async def test_an_alias_whose_llm_is_gone_hides_no_agent(redis_at):
    timers = {"stale_seconds": 1.5, "expire_seconds": 0.1, "sweep_seconds": 1000}
    async with replica(redis_at, **timers) as broker, Provider(broker, "other", aliases=["agent/bot"], connect=False):
        async with Provider(broker, "m", agents=BOT) as provider:
            async def gone() -> bool:
                await provider.heartbeat()
                return (await broker.call("GET", f"{BASE}/other"))[0] == 404

            await eventually(gone)
            assert (await request_of(broker, provider))["llmName"] == "m"


async def test_an_agent_that_is_not_there_is_model_not_found(redis_at):
    async with replica(redis_at) as broker:
        for path in ("/v1/chat/completions", PATH, "/api/chat"):
            status, body, _ = await broker.call("POST", path, asking("agent/nobody"))
            assert status == 404 and told(body).code == "model_not_found" and "'nobody'" in told(body).message


async def test_an_agent_whose_publisher_is_away_is_503(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as llm, Provider(broker, agents=BOT) as provider:
        await request_of(broker, llm)
        await provider.close()

        async def away() -> bool:
            return (await shown(broker, "bot"))["status"] == "inactive"

        await eventually(away)
        status, body, headers = await broker.chat("agent/bot", messages=HELLO)
        assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "agent_offline", "5")
        await provider.open()
        await request_of(broker, llm)


async def test_an_agent_whose_llms_publisher_is_away_is_503(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await make_agent(broker, "bot", "m")
        await provider.close()
        await broker.until_status("m", "inactive")
        status, body, _ = await broker.chat("agent/bot", messages=HELLO)
        assert status == 503 and body["error"]["code"] == "publisher_offline" and "'m'" in body["error"]["message"]


async def test_an_agent_whose_llm_is_gone_is_503_saying_so(redis_at):
    timers = {"stale_seconds": 1.5, "expire_seconds": 0.1, "sweep_seconds": 1000}
    async with replica(redis_at, **timers) as broker, Provider(broker, "m", connect=False):
        async with Provider(broker, agents=BOT) as provider:
            async def gone() -> bool:
                await provider.heartbeat()
                return (await broker.call("GET", f"{BASE}/m"))[0] == 404

            await eventually(gone)
            status, body, headers = await broker.chat("agent/bot", messages=HELLO)
            assert status == 503 and body["error"]["code"] == "agent_llm_missing" and "'m'" in body["error"]["message"]
            assert headers["Retry-After"]


async def test_a_model_is_answered_by_the_live_llm_that_is_most_awake(redis_at):
    async with replica(redis_at) as broker:
        await make_agent(broker, "bot", model="qwen3", systemPrompt="be kind")
        status, body, _ = await broker.chat("agent/bot", messages=HELLO)
        assert status == 503 and body["error"]["code"] == "publisher_offline" and "'qwen3'" in body["error"]["message"]
        async with Provider(broker, "a", model="qwen3", initialStatus="hibernating"):
            async with Provider(broker, "c", model="qwen3"), Provider(broker, "0", model="other"):
                async with Provider(broker, "b", model="qwen3") as awake:
                    frame = await request_of(broker, awake)
                    assert frame["llmName"] == "b" and frame["request"]["messages"] == [KIND, *HELLO]


async def test_a_model_of_a_row_that_changed_is_not_found_any_more(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", model="qwen3") as provider:
        await make_agent(broker, "bot", model="qwen3")
        assert (await request_of(broker, provider))["llmName"] == "m"
        provider._fields = {"model": "phi"}
        await provider.register()
        assert (await broker.chat("agent/bot", messages=HELLO))[0] == 503
        await broker.call("PATCH", "/api/v1/agents/bot", {"model": "phi"})
        assert (await request_of(broker, provider))["llmName"] == "m"
        assert (await broker.call("DELETE", f"{BASE}/m"))[0] == 204 and (await broker.chat("agent/bot", messages=HELLO))[0] == 503
        assert not await redis_at.read("model-llms:phi")


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/api/embed"])
async def test_an_agent_only_chats(redis_at, path):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT):
        status, body, _ = await broker.call("POST", path, {"model": "agent/bot", "input": "a", "prompt": "a"})
        assert status == 400 and "only chats" in told(body).message


async def test_a_message_to_an_agent(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        task = asked(broker.call("POST", PATH, asking("agent/bot", system="be quick")))
        frame = await provider.next()
        assert frame["request"]["messages"] == [KIND, {"role": "system", "content": "be quick"}, *HELLO]
        assert frame["request"]["top_p"] == 0.9 and frame["request"]["max_tokens"] == 100
        await provider.answer(frame, completion(content="hi"))
        status, body, _ = await task
        assert status == 200 and body["content"][0]["text"] == "hi" and body["model"] == "agent/bot"


async def test_a_streamed_message_to_an_agent(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        opening = asked(open_stream(broker, model="agent/bot"))
        frame = await provider.next()
        await provider.chunk(frame, chunk(content="hi"))
        async with await opening as response:
            assert (await event_of(response))[0] == "message_start"
            await provider.chunk(frame, "[DONE]", done=True)
            assert b"hi" in await response.read()


@pytest.mark.parametrize("name", ["agent/bot", "agent/bot:latest"])
async def test_programs_that_know_only_ollama_chat_with_an_agent(redis_at, name):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        for path, said in (("chat", {"messages": HELLO}), ("generate", {"prompt": "hello"})):
            task = asked(broker.call("POST", f"/api/{path}", {"model": name, "stream": False, **said}))
            frame = await provider.next()
            assert frame["request"]["messages"] == [KIND, *HELLO]
            await provider.answer(frame, completion(content="hi"))
            assert (await task)[0] == 200


async def test_agents_are_listed_as_models_in_every_front(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=[{**BOT[0], "description": "d"}]):
        await make_agent(broker, "at-a-model", model="qwen3")
        models = {one["id"]: one for one in (await broker.call("GET", "/v1/models"))[1]["data"]}
        assert set(models) == {"m", "agent/bot", "agent/at-a-model"}
        bot = models["agent/bot"]
        assert (await broker.call("GET", "/v1/models/agent/bot"))[1] == bot
        assert {name: bot[name] for name in ("object", "owned_by", "kind", "status", "description")} == {
            "object": "model", "owned_by": "reveille", "kind": "virtual", "status": "active", "description": "d",
        }
        theirs = {"anthropic-version": "2023-06-01"}
        listed = (await broker.call("GET", "/v1/models", headers=theirs))[1]
        assert [one["id"] for one in listed["data"]] == ["m", "agent/at-a-model", "agent/bot"] and listed["last_id"] == "agent/bot"
        assert (await broker.call("GET", "/v1/models/agent/bot", headers=theirs))[1]["display_name"] == "bot"
        tags = (await broker.call("GET", "/api/tags"))[1]["models"]
        assert {one["name"] for one in tags} == set(models) and len({one["digest"] for one in tags}) == 3
        for name in ("agent/bot", "agent/at-a-model:latest"):
            status, told_of, _ = await broker.call("POST", "/api/show", {"model": name})
            assert status == 200 and told_of["details"]["family"] == "agent" and "completion" in told_of["capabilities"]
        status, body, _ = await broker.call("POST", f"{PATH}/count_tokens", asking("agent/bot"))
        assert status == 200 and body["input_tokens"] > 0
        assert (await broker.call("POST", "/api/chat", {"model": "agent/bot"}))[1]["done_reason"] == "load"
        for path in ("/v1/models/agent/nobody", "/v1/models/agent/"):
            assert (await broker.call("GET", path))[0] == 404


async def test_any_client_may_ask_an_agent_and_a_publisher_may_not(redis_at):
    async with tokens(redis_at, pub="publisher", app="client") as given, replica(redis_at) as broker:
        async with Provider(broker, "m", agents=BOT, token=given.pub) as provider:
            task = asked(broker.chat("agent/bot", messages=HELLO, headers=bearer(given.app)))
            await provider.answer(await provider.next(), SAID)
            assert (await task)[0] == 200
            assert (await broker.chat("agent/bot", messages=HELLO, headers=bearer(given.pub)))[0] == 403
