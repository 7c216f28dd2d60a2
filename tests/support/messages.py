"""Clients of ``/v1/messages`` by hand, and OpenAI's chunks for whoever plays the LLM."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from tests.support.brokers import Replica

PATH = "/v1/messages"
HELLO = [{"role": "user", "content": "hello"}]


def asking(model: str = "m", **more) -> dict:
    return {"model": model, "max_tokens": 100, "messages": HELLO, **more}


def events(body: bytes) -> list[tuple[str, dict]]:
    """(name, data) of every event; each is `event:`, `data:`, and an empty line."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        assert name.startswith("event: ") and data.startswith("data: "), block
        found.append((name[7:], json.loads(data[6:])))
    assert body.endswith(b"\n\n") and all(name == data["type"] for name, data in found)
    return found


def open_stream(broker: Replica, *, headers: dict | None = None, **more):
    return broker.http.post(broker.url + PATH, json=asking(stream=True, **more), headers=headers)


async def event_of(response: aiohttp.ClientResponse, limit_s: float = 20.0) -> tuple[str, dict]:
    """The next event as it came over the wire."""
    async with asyncio.timeout(limit_s):
        return events(await response.content.readuntil(b"\n\n"))[0]


def chunk(finish: str | None = None, *, usage: dict | None = None, **delta) -> str:
    said = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return json.dumps({**said, "usage": usage} if usage else said, ensure_ascii=False)


def usage_chunk(prompt: int, completion: int, cached: int = 0) -> str:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": {"cached_tokens": cached}}
    return json.dumps({"choices": [], "usage": usage})


def call_piece(index: int | None, call_id: str | None = None, name: str | None = None, arguments: str = "") -> dict:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    piece = {"function": function, **({"id": call_id, "type": "function"} if call_id else {})}
    return {"index": index, **piece} if index is not None else piece


def completion(finish: str = "stop", usage: dict | None = None, **message) -> dict:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    counts = usage or {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {"id": "c", "object": "chat.completion", "choices": [choice], "usage": counts}
