"""Embeddings come in the form that was asked for, whichever form the backend knows."""

from __future__ import annotations

import base64
import struct

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked

VECTOR = [0.5, -1.25, 3.0]
PACKED = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()


def answer(embedding: object) -> dict:
    entry = {"object": "embedding", "index": 0, "embedding": embedding, "x_own": 1}
    return {"object": "list", "data": [entry], "model": "m", "usage": {"total_tokens": 2}, "vendor": {"a": None}}


async def embed(place, body: dict, said: object, **more):
    async with replica(place) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.call("POST", "/v1/embeddings", {"model": "m", "input": "a", **body}))
        frame = await provider.next()
        await provider.answer(frame, said, **more)
        status, given, _ = await asking
        return frame, status, given


async def test_an_embedding_call_passes_under_its_own_operation(redis_at):
    frame, status, given = await embed(redis_at, {}, answer(VECTOR))
    assert frame["operation"] == "embeddings" and frame["request"] == {"model": "m", "input": "a"}
    assert (status, given) == (200, answer(VECTOR))


@pytest.mark.parametrize("said", [VECTOR, PACKED])
@pytest.mark.parametrize(("asked_for", "expected"), [("float", VECTOR), ("base64", PACKED), (None, VECTOR)])
async def test_the_form_that_was_asked_for_is_the_form_that_comes(redis_real, said, asked_for, expected):
    body = {} if asked_for is None else {"encoding_format": asked_for}
    _, status, given = await embed(redis_real, body, answer(said))
    assert (status, given) == (200, answer(expected))


@pytest.mark.parametrize("odd", [{"data": "none"}, {"object": "list"}, [1], {"data": [{"embedding": "*"}]}, {"data": [{"embedding": ["x"]}]}])
async def test_what_is_no_embedding_passes_as_it_is(redis_real, odd):
    _, status, given = await embed(redis_real, {"encoding_format": "base64"}, odd)
    assert (status, given) == (200, odd)


async def test_an_error_passes_as_it_is(redis_real):
    _, status, given = await embed(redis_real, {}, {"error": {"message": "no"}, "data": [{"embedding": PACKED}]}, status=400)
    assert status == 400 and given["data"][0]["embedding"] == PACKED


async def test_a_request_without_a_model_is_400(redis_real):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("POST", "/v1/embeddings", {"input": "a"})
        assert status == 400 and body["error"]["param"] == "model"
