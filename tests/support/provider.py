"""A publisher that speaks only the contract's table, moved by hand from a test."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import aiohttp

from tests.support.brokers import Replica

BASE = "/api/v1/llms"


class Provider:
    """``async with Provider(replica, "llm") as p`` registers and opens the channel.

    ``frames`` receives each frame; ``answer``/``chunk``/``fail`` send results by
    the plain calls. ``move_to`` sends what follows to another replica.
    """

    def __init__(
        self, replica: Replica, *names: str, session: str | None = None, instance: str | None = None,
        token: str | None = None, connect: bool = True, accepts: bool = False, agents: list | None = None, **fields,
    ):
        self.replica = replica
        self.session = session
        self.frames: asyncio.Queue[dict] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._names = names
        self._fields = fields
        self._instance = instance
        self._token = token
        self._connect = connect
        self._accepts = accepts
        self._agents = agents or []
        self._channel: asyncio.Task | None = None
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Provider:
        status, body, _ = await self.register()
        assert status == 201, body
        if self._connect:
            await self.open()
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()

    @property
    def headers(self) -> dict[str, str]:
        headers = {}
        if self.session:
            headers["X-Provider-Session"] = self.session
        if self._instance is not None:
            headers["X-Provider-Instance"] = self._instance
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    async def post(self, path: str, body: object = None):
        return await self.replica.call("POST", BASE + path, {} if body is None else body, headers=self.headers)

    async def register(self, *names: str, **more):
        """(status, JSON, headers) of a registration; ``more`` are fields of the whole call."""
        providers = [{"name": name, "type": "openai", **self._fields} for name in names or self._names]
        body = {"providers": providers, "agents": self._agents, "accepts": self._accepts, **more}
        if self.session:
            body["providerSessionId"] = self.session
        answer = await self.post("/_provider-register", body)
        if answer[0] == 201:
            self.session = answer[1]["providerSessionId"]
        return answer

    async def heartbeat(self):
        return await self.post("/_provider-heartbeat", {"providerSessionId": self.session})

    async def open(self) -> None:
        """Opens the channel; returns when it is open."""
        if self._response and self.closed.is_set():
            self._response.close()
        self.closed.clear()
        self._response = await self.replica.http.get(
            self.replica.url + BASE + "/_provider-stream", headers=self.headers
        )
        assert self._response.status == 200, await self._response.text()
        await self._response.content.readuntil(b"\n\n")
        self._channel = asyncio.create_task(self._listen(self._response))

    async def close(self) -> None:
        """Closes the channel as a process that ends does."""
        if self._channel:
            self._channel.cancel()
            with suppress(asyncio.CancelledError):
                await self._channel
            self._channel = None
        if self._response:
            self._response.close()
            self._response = None

    async def next(self, kind: str = "infer", limit_s: float = 20.0) -> dict:
        """The next frame, which is of that kind."""
        async with asyncio.timeout(limit_s):
            frame = await self.frames.get()
        assert frame["kind"] == kind, frame
        return frame

    async def answer(self, frame: dict, body: object = None, *, status: int = 200, **more):
        return await self.result(frame, {"status": status, "body": body if body is not None else {"ok": True}, **more})

    async def chunk(self, frame: dict, data: str, *, done: bool = False, seq: int | None = None):
        chunk = {"data": data, "done": True} if done else {"data": data}
        return await self.result(frame, {"chunk": chunk} if seq is None else {"chunk": chunk, "seq": seq})

    async def fail(self, frame: dict, error: str, code: str | None = None):
        return await self.result(frame, {"error": error} if code is None else {"error": error, "code": code})

    async def result(self, frame: dict, body: dict):
        return await self.post(f"/_provider-task/{frame['taskId']}/result", body)

    async def results(self, *frames: dict):
        """Many frames as NDJSON: (status, JSON, headers)."""
        text = b"".join(json.dumps(frame).encode() + b"\n" for frame in frames)
        return await self.replica.call("POST", BASE + "/_provider-results", text, headers=self.headers)

    def move_to(self, replica: Replica) -> None:
        self.replica = replica

    async def _listen(self, response: aiohttp.ClientResponse) -> None:
        try:
            async for line in response.content:
                if line.startswith(b"data: "):
                    await self.frames.put(json.loads(line[6:]))
        except aiohttp.ClientError:
            pass
        finally:
            self.closed.set()
