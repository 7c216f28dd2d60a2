"""One question to the anthropic backend, with a fake server at its other end."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import pytest

from publisher.backends.anthropic import AnthropicBackend
from broker.dialects.anthropic_request import Untranslatable, asked_of
from broker.dialects.anthropic_stream import TranslatedStream
from tests.support.engines.anthropic import Anthropic, Script, stream

HELLO = {"model": "claude-a", "messages": [{"role": "user", "content": "hi"}]}


@contextlib.asynccontextmanager
async def backend_at(url: str, key: str | None = None, check_timeout_s: float = 5):
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as http:
        yield AnthropicBackend(http, url, key, check_timeout_s)


@contextlib.asynccontextmanager
async def pair(script: Script | None = None, key: str | None = None, **engine: object):
    async with Anthropic(script=script or Script(), **engine) as server, backend_at(server.url, key) as backend:
        yield server, backend


async def read(answer) -> bytes:
    parts = []
    while part := await answer.content.readany():
        parts.append(part)
    assert answer.content.at_eof() and await answer.content.readany() == b""
    return b"".join(parts)


async def ask(backend: AnthropicBackend, streaming: bool = False, **request: object):
    """(status, headers, body) of one answer."""
    answer = await backend.infer("chat", json.dumps({**HELLO, **request}).encode(), streaming)
    try:
        assert answer.content_type == answer.headers["content-type"]
        return answer.status, answer.headers, await read(answer)
    finally:
        answer.close()


async def whole(backend: AnthropicBackend, **request: object) -> dict:
    status, headers, body = await ask(backend, **request)
    assert (status, headers["content-type"]) == (200, "application/json")
    return json.loads(body)


async def chunks(backend: AnthropicBackend, **request: object) -> list[dict]:
    status, headers, body = await ask(backend, streaming=True, **request)
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    *events, done, rest = body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [json.loads(one.removeprefix(b"data: ")) for one in events]


class Reads:
    """A connection that gives these reads and then ends."""

    def __init__(self, *reads: bytes) -> None:
        self.left = [part for part in reads if part]

    async def readany(self) -> bytes:
        return self.left.pop(0) if self.left else b""

    def at_eof(self) -> bool:
        return not self.left


async def blocks_of(*reads: bytes, include_usage: bool = False) -> list[bytes]:
    body = TranslatedStream(Reads(*reads), include_usage)
    blocks = []
    while block := await body.readany():
        blocks.append(block)
    assert body.at_eof()
    return blocks


def translated(*reads: bytes, include_usage: bool = False) -> list[dict | str]:
    said = b"".join(asyncio.run(blocks_of(*reads, include_usage=include_usage)))
    *events, rest = said.split(b"\n\n")
    assert rest == b"" and all(one.startswith(b"data: ") for one in events)
    payloads = [one[6:] for one in events]
    return [payload.decode() if payload == b"[DONE]" else json.loads(payload) for payload in payloads]


def deltas(events: list) -> list[dict]:
    return [one["choices"][0]["delta"] for one in events if one != "[DONE]" and one["choices"]]


def said_of(script: Script) -> bytes:
    return stream({"model": "m"}, script)


def timeless(events: list) -> list:
    return [{**one, "created": 0} if isinstance(one, dict) else one for one in events]


def request(streaming: bool = False, **fields: object) -> dict:
    """What a request becomes on the wire."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return json.loads(asked_of(json.dumps(asked).encode(), streaming).body)


def refused(**fields: object) -> Untranslatable:
    with pytest.raises(Untranslatable) as why:
        request(**fields)
    return why.value
