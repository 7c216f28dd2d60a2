"""Upstreams that say what no proper one says, byte for byte: redirects, torn events, ends without a length."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.support.brokers import replica
from tests.support.public import HERE, make_llm
from tests.support.streams import stream

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


@asynccontextmanager
async def saying(words: bytes | Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """A server that says these bytes to every request, or what they make of its head, and hangs up. Its url."""
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(words if isinstance(words, bytes) else words(head))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def sized(body: bytes) -> bytes:
    return EVENTS + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_a_key_that_the_upstream_repeats_is_taken_out(redis_real):
    def repeat(head: bytes) -> bytes:
        key = head.split(b"Bearer ")[1].split(b"\r\n")[0]
        body = b'{"error": {"message": "bad key ' + key + b'"}}'
        return b"HTTP/1.1 401 no\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async with saying(repeat) as url, replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", url, key="sk-very-secret")
        status, body, _ = await broker.chat("gpt")
        assert status == 401 and body["error"]["message"] == "bad key ***"


async def test_a_redirect_is_not_followed(redis_real):
    words = b"HTTP/1.1 307 go\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with saying(words) as url, replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", url)
        status, body, _ = await broker.chat("gpt")
        assert status == 502 and "redirects (307)" in body["error"]["message"]


@pytest.mark.parametrize(
    "words",
    [
        EVENTS + b"\r\n" + EVENT,  # only its closing ends it, and it never said that it was done
        sized(EVENT + EVENT[:20]),  # torn within an event
        EVENTS + b"Content-Length: 500\r\n\r\n" + EVENT,
        EVENTS + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(EVENT) + EVENT + b"\r\n",
    ],
    ids=["no-length", "torn", "short", "chunk"],
)
async def test_an_end_too_early_is_told_after_what_came(redis_real, words):
    async with saying(words) as url, replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", url)
        said = await stream(broker, "gpt")
        assert said.status == 200 and json.loads(said.payloads[0])["choices"] and b"[DONE]" not in said.body
        assert (said.error["status"], said.error["code"]) == (502, "backend_error")


@pytest.mark.parametrize(
    "words",
    [
        EVENTS + b"\r\n" + EVENT + b"data: [DONE]\n\n", EVENTS + b"\r\n" + EVENT + b"data: [DONE]", sized(EVENT), sized(EVENT[:-1]),
        sized(EVENT + b"data: [DONE]\n\ndata: more\n\n"),
    ],
    ids=["no-length", "no-blank-line", "no-done", "no-last-line", "more"],
)
async def test_an_end_that_is_meant_is_one(redis_real, words):
    async with saying(words) as url, replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", url)
        assert (await stream(broker, "gpt")).body == EVENT + b"data: [DONE]\n\n"


async def test_a_flood_without_an_event_is_cut_off(redis_real):
    async with saying(sized(b"data: " + b"x" * (17 << 20))) as url, replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", url)
        status, body, _ = await broker.chat("gpt", stream=True)
        assert status == 502 and "larger than 16 MiB" in body["error"]["message"]


async def test_a_stream_that_ends_before_its_first_event_keeps_a_status(redis_real):
    async with saying(EVENTS + b"Content-Length: 9\r\n\r\n: hello") as url, replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", url)
        status, body, _ = await broker.chat("gpt", stream=True)
        assert status == 502 and body["error"]["code"] == "backend_error"


async def test_headers_beyond_measure_are_502(redis_real):
    async with saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n") as url, replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", url, key="sk-secret")
        status, body, _ = await broker.chat("gpt")
        assert status == 502 and len(body["error"]["message"]) < 400


async def test_headers_that_are_not_for_callers_stay_here(redis_real):
    words = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nX-RateLimit-Remaining: 3\r\nContent-Length: 2\r\n\r\n{}"
    async with saying(words) as url, replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", url)
        status, body, headers = await broker.chat("gpt")
        assert (status, body, headers["X-RateLimit-Remaining"]) == (200, {}, "3") and "Set-Cookie" not in headers
