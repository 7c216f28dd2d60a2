"""Other names of an LLM: who is meant by one, and when it goes."""

from __future__ import annotations

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked


async def models(broker) -> dict[str, list[str]]:
    _, listed, _ = await broker.call("GET", "/v1/models")
    return {one["id"]: one["aliases"] for one in listed["data"]}


async def test_an_alias_reaches_the_llm_and_the_name_comes_first(redis_at):
    async with (
        replica(redis_at) as broker,
        Provider(broker, "qwen", aliases=["gpt-4o", "other"]) as qwen,
        Provider(broker, "other") as other,
    ):
        asking = asked(broker.chat("gpt-4o"))
        frame = await qwen.next()
        assert frame["llmName"] == "qwen"
        await qwen.answer(frame)
        assert (await asking)[0] == 200
        asking = asked(broker.chat("other"))
        await other.answer(await other.next())
        assert (await asking)[0] == 200


async def test_a_streaming_request_by_alias_streams(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", aliases=["a/b"]) as provider:
        asking = asked(broker.call("POST", "/v1/chat/completions", {"model": "a/b", "messages": [], "stream": True}))
        frame = await provider.next()
        await provider.chunk(frame, '{"x":1}')
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await asking)[1] == b'data: {"x":1}\n\ndata: [DONE]\n\n'


async def test_of_several_llms_with_one_alias_the_most_awake_answers(redis_at):
    async with (
        replica(redis_at) as broker,
        Provider(broker, "a", aliases=["x"], initialStatus="hibernating"),
        Provider(broker, "b", aliases=["x"]) as awake,
    ):
        asking = asked(broker.chat("x"))
        await awake.answer(await awake.next())
        assert (await asking)[0] == 200
        _, row, _ = await broker.call("GET", "/v1/models/x")
        assert row["id"] == "b"


async def test_aliases_are_shown_kept_when_left_out_and_replaced_when_given(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", aliases=["x", "y"]) as provider:
        assert await models(broker) == {"m": ["x", "y"]} and (await broker.llm("m"))["aliases"] == ["x", "y"]
        await provider.post("/_provider-register", {"providerSessionId": provider.session, "providers": [{"name": "m"}]})
        assert await models(broker) == {"m": ["x", "y"]}
        await provider.register(providers=[{"name": "m", "aliases": ["y", "z"]}])
        assert await models(broker) == {"m": ["y", "z"]}
        assert (await broker.call("GET", "/v1/models/x"))[0] == 404
        assert (await broker.call("GET", "/v1/models/z"))[0] == 200


async def test_an_alias_goes_with_its_llm(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", aliases=["x"]) as provider:
        await provider.register(providers=[{"name": "other"}], replace=True)
        assert (await broker.chat("x"))[0] == 404
        assert not [key for key in await redis_at.keys() if b"alias:" in key]


async def test_a_row_is_not_deleted_by_an_alias(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", aliases=["x"]):
        assert (await broker.call("DELETE", "/api/v1/llms/x"))[0] == 404
        assert (await broker.llm("m"))["name"] == "m"


@pytest.mark.parametrize("aliases", [[""], ["_x"], ["a\n"], ["x"] * 33, "x", [1]])
async def test_a_bad_alias_is_refused_and_nothing_is_registered(redis_at, aliases):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        status, body, _ = await provider.register(providers=[{"name": "n", "aliases": aliases}])
        assert status in (400, 422) and "aliases" in body["error"]["message"]
        assert (await broker.call("GET", "/api/v1/llms/n"))[0] == 404


async def test_tokens_that_a_publisher_reports_are_counted_and_callers_get_the_backend_s_own_words(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.chat("m"))
        frame = await provider.next()
        usage = {"promptTokens": 7, "completionTokens": 35, "totalTokens": 42}
        await provider.answer(frame, {"own": "words"}, usage=usage)
        assert (await asking)[1] == {"own": "words"}
        _, text, _ = await broker.call("GET", "/metrics")
        assert b'broker_tokens_total{kind="prompt"} 7.0' in text and b'broker_tokens_total{kind="completion"} 35.0' in text
