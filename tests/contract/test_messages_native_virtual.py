"""The Anthropic front before publishers that said that they take its messages: both sides' words pass as they are."""

from __future__ import annotations

import json

import pytest

from tests.support.agents import make_agent
from tests.support.brokers import Replica, replica
from tests.support.messages import HELLO, PATH, asking, chunk, completion, event_of, events, open_stream
from tests.support.provider import BASE, Provider
from tests.support.streams import asked, stream

TAKES = {"type": "anthropic", "operations": ["chat", "messages"]}
BETAS = {"anthropic-version": "2024-01-01", "anthropic-beta": "a-1,b-2"}
#: What no translation would let pass.
OWN = {"thinking": {"type": "adaptive"}, "tools": [{"type": "web_search_20250305", "name": "web_search"}], "vendor": {"a": None}}
START, STOP = '{"type":"message_start","message":{"id":"msg_1"}}', '{"type":"message_stop"}'
DELTA = '{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "tök"}}'
PING = '{"type": "ping"}'


async def answered(broker: Replica, provider: Provider, said: object, *, headers: dict | None = None, **body):
    """(frame, status, answer, headers) of one message that the publisher answers with ``said``."""
    task = asked(broker.call("POST", PATH, asking(**body), headers=headers))
    frame = await provider.next()
    await provider.answer(frame, said)
    return frame, *(await task)


async def test_a_request_reaches_the_publisher_as_it_came_with_its_headers(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", **TAKES) as provider:
        task = asked(broker.http.post(broker.url + PATH, json=asking(**OWN), headers={**BETAS, "x-other": "1"}))
        frame = await provider.next()
        assert (frame["operation"], frame["headers"], frame["request"]) == ("messages", BETAS, asking(**OWN))
        said = {"status": 200, "headers": {"request-id": "req_theirs"}, "body": '{ "id": "msg_1", "odd": 1.0 }'}
        await provider.result(frame, said)
        async with await task as response:
            assert await response.read() == said["body"].encode()
            assert response.headers["request-id"] == "req_theirs" != response.headers["X-Request-Id"]


async def test_a_stream_has_the_publishers_payloads_with_their_names_and_ends_with_the_message(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", **TAKES) as provider:
        opening = asked(open_stream(broker, **OWN))
        frame = await provider.next()
        assert frame["streaming"] is True
        await provider.chunk(frame, START)
        async with await opening as response:
            assert response.content_type == "text/event-stream" and response.headers["request-id"] == response.headers["X-Request-Id"]
            assert (await event_of(response))[0] == "message_start"
            await provider.chunk(frame, PING)
            await provider.chunk(frame, DELTA)
            await provider.chunk(frame, STOP)
            await provider.chunk(frame, "[DONE]", done=True)
            names = ("ping", "content_block_delta", "message_stop")
            said = "".join(f"event: {name}\ndata: {data}\n\n" for name, data in zip(names, (PING, DELTA, STOP), strict=True))
            assert await response.read() == said.encode()


async def test_a_publisher_that_said_nothing_gets_the_translated_call(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", type="anthropic") as provider:
        frame, status, answer, _ = await answered(broker, provider, completion(content="hi"))
        assert (frame["operation"], "headers" in frame, status) == ("chat", False, 200)
        assert frame["request"]["messages"] == HELLO and answer["content"] == [{"type": "text", "text": "hi"}]


async def test_the_last_registration_counts_also_at_once_and_at_another_replica(redis_at):
    async with replica(redis_at) as broker, replica(redis_at) as other, Provider(broker, "m") as provider:
        for operations, word in ((None, "chat"), (["messages"], "messages"), (["chat"], "chat"), (["messages"], "messages"), (None, "chat")):
            fields = {} if operations is None else {"operations": operations}
            await provider.register(providers=[{"name": "m", **fields}])
            for asking_broker in (broker, other):
                own = OWN if word == "messages" else {}
                frame, status, _, _ = await answered(asking_broker, provider, completion(content="hi"), **own)
                assert (frame["operation"], status) == (word, 200)


async def test_what_cannot_be_translated_is_400_only_where_it_must_be(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await answered(broker, provider, completion(content="hi"))
        status, answer, _ = await broker.call("POST", PATH, asking(**OWN))
        assert status == 400 and "tools[0].type" in answer["error"]["message"]
        await provider.register(**{"providers": [{"name": "m", **TAKES}]})
        frame, status, _, _ = await answered(broker, provider, {"id": "msg_1"}, **OWN)
        assert status == 200 and frame["request"] == asking(**OWN)


async def test_openais_clients_and_counts_are_as_before(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", **TAKES) as provider:
        task = asked(stream(broker, "m", messages=HELLO))
        frame = await provider.next()
        assert frame["operation"] == "chat"
        await provider.chunk(frame, chunk(content="hi"))
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await task).payloads[-1] == b"[DONE]"
        status, answer, _ = await broker.call("POST", f"{PATH}/count_tokens", {"model": "m", "messages": HELLO})
        assert status == 200 and answer["estimate"] is True and provider.frames.empty()


async def test_a_large_request_is_fetched_as_it_came(redis_at):
    body = asking(messages=[{"role": "user", "content": "x" * (2 << 20)}], **OWN)
    async with replica(redis_at) as broker, Provider(broker, "m", **TAKES) as provider:
        task = asked(broker.call("POST", PATH, body, headers=BETAS))
        frame = await provider.next()
        assert frame["operation"] == "messages" and frame["headers"] == BETAS and "request" not in frame
        assert (await broker.call("GET", frame["requestUrl"], headers=provider.headers))[1] == body
        await provider.answer(frame)
        assert (await task)[0] == 200


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refusal_passes_as_it_is(redis_at, streaming):
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy", "odd": 1}}
    async with replica(redis_at) as broker, Provider(broker, "m", **TAKES) as provider:
        task = asked(broker.call("POST", PATH, asking(stream=streaming)))
        await provider.answer(await provider.next(), error, status=529, headers={"Retry-After": "7"})
        status, answer, headers = await task
        assert (status, answer, headers["Retry-After"]) == (529, error, "7")


async def test_our_own_refusals_have_anthropics_shape(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", **TAKES) as provider:
        task = asked(broker.call("POST", PATH, asking()))
        await provider.fail(await provider.next(), "it is asleep", "wake_failed")
        status, answer, headers = await task
        assert status == 503 and answer["error"]["details"]["error_code"] == "wake_failed"
        assert answer["request_id"] == headers["request-id"]


async def test_a_client_that_waits_gets_pings_and_then_the_answer_or_the_refusal(redis_real):
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy", "odd": 1}}
    async with replica(redis_real, comment_first_seconds=0.02, comment_every_seconds=0.02) as broker:
        async with Provider(broker, "m", **TAKES) as provider:
            for status, said in ((529, error), (418, "no tea"), (200, {"id": "msg_1"})):
                opening = asked(open_stream(broker))
                frame = await provider.next()
                async with await opening as response:
                    assert await event_of(response) == ("ping", {"type": "ping"})
                    await provider.result(frame, {"status": status, "body": json.dumps(said, indent=1)})
                    (name, data), = [one for one in events(await response.read()) if one[0] != "ping"]
                assert name == "error" and (data == error) is (said is error)
                assert said is error or data["error"]["message"] and data["request_id"].startswith("req_")


@pytest.mark.parametrize("last", ["fails", "is done", "is no event"])
async def test_a_stream_without_its_end_ends_in_an_error_event(redis_real, last):
    async with replica(redis_real) as broker, Provider(broker, "m", **TAKES) as provider:
        opening = asked(open_stream(broker))
        frame = await provider.next()
        await provider.chunk(frame, START)
        async with await opening as response:
            await event_of(response)
            if last == "fails":
                await provider.fail(frame, "it broke", "backend_error")
            else:
                await provider.chunk(frame, "[DONE]" if last == "is done" else "{}", done=True)
            body = (await response.read()).removeprefix(b"data: {}\n\n")
            assert b"[DONE]" not in body
            assert events(body)[-1][1]["error"]["details"]["error_code"] == "backend_error"


async def test_nothing_follows_the_end_of_a_message(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", **TAKES) as provider:
        opening = asked(open_stream(broker))
        frame = await provider.next()
        await provider.chunk(frame, STOP)
        async with await opening as response:
            assert (await event_of(response))[0] == "message_stop"
            await provider.chunk(frame, DELTA)
            await provider.fail(frame, "it broke", "backend_error")
            assert await response.read() == b""


async def test_a_client_that_leaves_cancels_its_message(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", **TAKES) as provider:
        opening = asked(open_stream(broker))
        frame = await provider.next()
        await provider.chunk(frame, START)
        (await opening).close()
        assert (await provider.next("cancel", 1.0))["taskId"] == frame["taskId"]
        await provider.fail(frame, "stopped")


async def test_a_message_waits_in_line_and_is_sent_as_it_came(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1, **TAKES) as provider:
        first, second = asked(broker.call("POST", PATH, asking())), asked(broker.call("POST", PATH, asking(**OWN)))
        for frame in [await provider.next()]:
            await provider.answer(frame)
        frames = [frame, await provider.next()]
        await provider.answer(frames[1])
        assert {(await one)[0] for one in (first, second)} == {200}
        assert [one["operation"] for one in frames] == ["messages", "messages"] and asking(**OWN) in [one["request"] for one in frames]


async def test_an_agent_adds_its_prompt_and_its_parameters(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "plain", **TAKES) as provider:
        await provider.register(providers=[{"name": "m", **TAKES}, {"name": "plain"}])
        for llm in ("m", "plain"):
            await make_agent(broker, f"of-{llm}", llm, systemPrompt="be kind", defaultParams={"stop": ["END"], "n": 1})
        for _ in range(2):
            frame, status, _, _ = await answered(broker, provider, {"id": "msg_1"}, model="agent/of-m", system="be quick", **OWN)
            said = [{"type": "text", "text": "be kind"}, {"type": "text", "text": "be quick"}]
            assert status == 200 and frame["request"] == {**asking("agent/of-m", **OWN), "system": said, "stop_sequences": ["END"]}
        frame, status, _, _ = await answered(broker, provider, completion(content="hi"), model="agent/of-plain", system="be quick")
        assert status == 200 and frame["request"]["messages"][0] == {"role": "system", "content": "be kind"}
        assert frame["request"]["stop"] == ["END"]


@pytest.mark.parametrize("operations", [["Messages"], ["a b"], [""], ['"'], ["x" * 33], ["x"] * 17, "messages", [1]])
async def test_operations_that_make_no_sense_are_refused(redis_real, operations):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        status, answer, _ = await provider.post("/_provider-register", {"providers": [{"name": "n", "operations": operations}]})
        assert status in (400, 422) and "operations" in answer["error"]["message"]
        assert (await broker.call("GET", f"{BASE}/n"))[0] == 404


@pytest.mark.parametrize("name", ["claude-x", "model of m"])
async def test_a_name_that_means_one_llm_is_asked_in_its_own_words_as_that_llm_is(redis_at, name):
    async with replica(redis_at) as broker, Provider(broker, "m", aliases=["claude-x"], model="model of m", **TAKES) as provider:
        frame, status, answer, _ = await answered(broker, provider, {"id": "msg_1"}, model=name, **OWN)
        assert (frame["operation"], frame["llmName"], status, answer) == ("messages", "m", 200, {"id": "msg_1"})


async def test_a_pool_is_asked_in_the_words_that_all_understand(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", **TAKES) as provider:
        await broker.call("POST", "/api/v1/pools", {"name": "p", "members": [{"llm": "m"}]})
        frame, status, answer, _ = await answered(broker, provider, completion(content="Hi"), model="p")
        assert (frame["operation"], status, answer["content"][0]["text"]) == ("chat", 200, "Hi")
