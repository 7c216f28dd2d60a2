"""Threads and turns of a test, over HTTP, and who plays the LLM behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.support.agents import AGENTS
from tests.support.brokers import Replica
from tests.support.messages import chunk, completion
from tests.support.provider import Provider

THREADS = "/api/v1/threads"
#: A virtual LLM's agent, as its publisher registers it.
BOT = [{"name": "bot", "llmName": "m", "systemPrompt": "be kind"}]
KIND = {"role": "system", "content": "be kind"}


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}


async def make_thread(broker: Replica, agent: str = "bot", *, headers: dict | None = None, **fields) -> str:
    """Its id."""
    status, thread, _ = await broker.call("POST", f"{AGENTS}/{agent}/threads", fields, headers=headers)
    assert status == 201, thread
    return thread["id"]


async def say(broker: Replica, thread: str, content: Any = "hello", *, headers: dict | None = None, **more):
    """One turn without streaming: (status, JSON, headers)."""
    return await broker.call("POST", f"{THREADS}/{thread}/turns", {"content": content, **more}, headers=headers)


async def ask(broker: Replica, provider: Provider, thread: str, content: Any = "hello", answer: str = "hi", **more) -> dict:
    """A whole turn that goes well; what reached the LLM."""
    asking = asyncio.create_task(say(broker, thread, content, **more))
    frame = await provider.next()
    await provider.answer(frame, completion(content=answer))
    status, body, _ = await asking
    assert status == 200, body
    return frame["request"]


async def messages(broker: Replica, thread: str, query: str = "", *, headers: dict | None = None) -> list[dict]:
    status, body, _ = await broker.call("GET", f"{THREADS}/{thread}/messages{query}", headers=headers)
    assert status == 200, body
    return body["data"]


def said(found: list[dict]) -> list[tuple]:
    return [(one["turnIndex"], one["role"], one["content"], one["status"]) for one in found]


async def turn(broker: Replica, thread: str, number: int = 1) -> dict:
    status, body, _ = await broker.call("GET", f"{THREADS}/{thread}/turns/{number}")
    assert status == 200, body
    return body


async def thread_of(broker: Replica, thread: str) -> dict:
    status, body, _ = await broker.call("GET", f"{THREADS}/{thread}")
    assert status == 200, body
    return body


async def cancel(broker: Replica, thread: str, number: int = 1) -> int:
    return (await broker.call("DELETE", f"{THREADS}/{thread}/turns/{number}"))[0]


@dataclass
class Event:
    """``id`` None: it has none."""

    id: int | None
    name: str
    data: dict


class Stream:
    """A turn's open stream."""

    def __init__(self, response: aiohttp.ClientResponse):
        self.response = response
        self.status = response.status
        self.headers = response.headers
        self.comments = 0

    async def next(self, limit_s: float = 20.0) -> Event | None:
        """The next event; comments are counted. None at its end."""
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    block = await self.response.content.readuntil(b"\n\n", max_size=1 << 28)
                except asyncio.IncompleteReadError as error:
                    block = error.partial
                if not block:
                    return None
                if not block.startswith(b":"):
                    return _event(block.decode())
                self.comments += 1

    async def rest(self, limit_s: float = 20.0) -> list[Event]:
        found = []
        while event := await self.next(limit_s):
            found.append(event)
        return found

    async def texts(self, count: int) -> list[str]:
        """So many events, all of which are text."""
        return [(await self.next()).data["text"] for _ in range(count)]


def _event(block: str) -> Event:
    lines = block.removesuffix("\n\n").split("\n")
    number = int(lines.pop(0)[4:]) if lines[0].startswith("id: ") else None
    name, data = lines
    assert name.startswith("event: ") and data.startswith("data: "), block
    return Event(number, name[7:], json.loads(data[6:]))


@asynccontextmanager
async def telling(
    broker: Replica, thread: str, content: Any = "hello", *, headers: dict | None = None, **more
) -> AsyncIterator[Stream]:
    """A streamed turn; entered when its status is there."""
    body = {"content": content, "stream": True, **more}
    async with broker.http.post(f"{broker.url}{THREADS}/{thread}/turns", json=body, headers=headers) as response:
        yield Stream(response)


@asynccontextmanager
async def following(
    broker: Replica, thread: str, number: int = 1, *, after: int | None = None, headers: dict | None = None
) -> AsyncIterator[Stream]:
    query = "" if after is None else f"?after={after}"
    async with broker.http.get(f"{broker.url}{THREADS}/{thread}/turns/{number}/events{query}", headers=headers) as response:
        yield Stream(response)


@dataclass
class Telling:
    """A streamed turn under way, with its LLM in the test's hands."""

    stream: Stream
    frame: dict
    provider: Provider

    async def speak(self, *texts: str) -> None:
        """The LLM says these words, and they reach the client that began the turn."""
        for text in texts:
            await self.provider.chunk(self.frame, chunk(content=text))
            assert (await self.stream.next()).data == {"text": text}

    async def finish(self) -> None:
        await self.provider.chunk(self.frame, chunk("stop"))
        await self.provider.chunk(self.frame, "[DONE]", done=True)


@asynccontextmanager
async def under_way(broker: Replica, provider: Provider, thread: str, *texts: str, **more) -> AsyncIterator[Telling]:
    """A streamed turn whose LLM has said at least one text."""
    words = texts or ("one",)

    async def first() -> dict:
        frame = await provider.next()
        await provider.chunk(frame, chunk(content=words[0]))
        return frame

    playing = asyncio.create_task(first())
    async with telling(broker, thread, **more) as stream:
        assert stream.status == 200, await stream.response.text()
        assert (await stream.next()).data == {"text": words[0]}
        telling_now = Telling(stream, await playing, provider)
        await telling_now.speak(*words[1:])
        yield telling_now
