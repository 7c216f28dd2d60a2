"""Clients of ``/v1/responses`` by hand, and what they read."""

from __future__ import annotations

import json

from tests.support.brokers import Replica
from tests.support.provider import Provider
from tests.support.streams import asked

PATH = "/v1/responses"


def asking(model: str = "m", given: object = "hello", **more) -> dict:
    return {"model": model, "input": given, **more}


def events(body: bytes) -> list[dict]:
    """The data of every event, whose number is its place; comments are none."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}", block
    assert body.endswith(b"\n\n")
    return found


async def respond(broker: Replica, provider: Provider, said: object, *, headers: dict | None = None, **body):
    """(chat request, status, response) of one that the LLM answers with ``said``."""
    asking_ = asked(broker.call("POST", PATH, asking(**body), headers=headers))
    frame = await provider.next()
    await provider.answer(frame, said)
    status, answer, _ = await asking_
    return frame["request"], status, answer


async def streamed(broker: Replica, provider: Provider, *chunks: str, headers: dict | None = None, **body) -> bytes:
    """The stream of one that the LLM answers with these chunks."""

    async def read() -> bytes:
        async with broker.http.post(broker.url + PATH, json=asking(stream=True, **body), headers=headers) as response:
            assert response.status == 200 and response.content_type == "text/event-stream", await response.text()
            return await response.read()

    reading = asked(read())
    frame = await provider.next()
    for one in chunks:
        await provider.chunk(frame, one)
    await provider.chunk(frame, "[DONE]", done=True)
    return await reading
