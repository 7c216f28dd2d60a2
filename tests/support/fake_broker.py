"""A broker for the publisher's tests: the publisher's side of the protocol, no clients.

A test gives tasks with ``infer``, ``wake`` … and reads what came back with
``ended``. It checks what the real broker checks of frames: session, ``seq``,
and that nothing follows a task's last word; and as that one does, it gives a
task again on the next channel of which it heard nothing. How it answers can be
scripted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.ending import end


@dataclass
class Told:
    """What the publisher said about one task."""

    frames: list[dict] = field(default_factory=list)
    accepted: int = 0
    ended: bool = False
    unwanted: bool = False  # answered 404 from now on
    cancelled: bool = False  # said with the next 200

    @property
    def last(self) -> dict:
        return self.frames[-1]

    @property
    def text(self) -> str:
        return "".join(f["chunk"].get("events", "") for f in self.frames if "chunk" in f)

    @property
    def payloads(self) -> list[str]:
        return [event.removeprefix("data: ") for event in self.text.split("\n\n")[:-1]]


class FakeBroker:
    def __init__(self, heartbeat_s: float = 30.0) -> None:
        self.heartbeat_s = heartbeat_s
        self.session: str | None = None
        self.instances: set[str] = set()
        self.registrations: list[dict] = []
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: list[tuple[str, str]] = []
        self.tasks: dict[str, Told] = {}
        self._given: dict[str, bytes] = {}  # the frame of each task
        self.posts: list[int] = []  # frames per results POST
        self.channels = 0
        self.channel_open = False
        self.refuse: dict[str, list[tuple[int, str]]] = {}  # per call: answers to give first
        self.requests: dict[str, bytes] = {}
        self.hold_results: asyncio.Event | None = None
        self.hold_registration: asyncio.Event | None = None
        self.lose_answers = 0  # results POSTs to take in and then hang up on
        self._changed = asyncio.Condition()
        self._channel: web.StreamResponse | None = None
        self._gone = asyncio.Event()
        self._ids = 0

    async def __aenter__(self) -> FakeBroker:
        app = web.Application(client_max_size=64 << 20)
        root = "/api/v1/llms/"
        for call in ("register", "heartbeat", "status", "goodbye"):
            app.router.add_post(f"{root}_provider-{call}", getattr(self, f"_{call}"))
        app.router.add_get(root + "_provider-stream", self._stream)
        app.router.add_post(root + "_provider-results", self._results)
        app.router.add_get(root + "_provider-task/{task}/request", self._request)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        await end(self._runner)

    # ── for tests ───────────────────────────────────────────────────────────

    async def until(self, condition: Callable[[], bool], limit_s: float = 20.0) -> None:
        async with asyncio.timeout(limit_s), self._changed:
            await self._changed.wait_for(condition)

    async def ready(self) -> None:
        await self.until(lambda: self.channel_open)

    async def send(self, **frame: object) -> None:
        await self.raw(_event(frame))

    async def raw(self, data: bytes) -> None:
        await self._channel.write(data)

    async def infer(self, request: object, llm: str = "m", **more: object) -> Told:
        streaming = bool(isinstance(request, dict) and request.get("stream"))
        return await self._give(**{"kind": "infer", "llmName": llm, "operation": "chat", "request": request,
                                   "streaming": streaming, "deadlineMs": 60000, **more})

    async def order(self, kind: str, llm: str = "m") -> Told:
        """A wake or a sleep."""
        return await self._give(kind=kind, llmName=llm)

    def id_of(self, told: Told) -> str:
        return next(task_id for task_id, one in self.tasks.items() if one is told)

    async def ended(self, told: Told, limit_s: float = 20.0) -> Told:
        await self.until(lambda: told.ended, limit_s)
        return told

    async def drop_channel(self) -> None:
        """As a network that fails: no last words."""
        self.channel_open = False
        if self._channel is not None and self._channel._req.transport is not None:
            self._channel._req.transport.abort()

    async def tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # ── the protocol ────────────────────────────────────────────────────────

    async def _give(self, **frame: object) -> Told:
        self._ids += 1
        task_id = f"t{self._ids}"
        told = self.tasks[task_id] = Told()
        self._given[task_id] = _event({"taskId": task_id, **frame})
        with contextlib.suppress(ConnectionError):  # the next channel brings it
            await self.raw(self._given[task_id])
        return told

    def _given_in_vain(self) -> bytes:
        """The frames of which the publisher said nothing: the channel may have broken before it read them."""
        unheard = [name for name in self._given if not self.tasks[name].accepted and not self.tasks[name].frames]
        return b"".join(self._given[name] for name in unheard)

    async def _noted(self, call: str, request: web.Request) -> web.Response | None:
        self.calls.append(call)
        self.headers.append(dict(request.headers))
        self.instances.add(request.headers.get("X-Provider-Instance", ""))
        waiting = self.refuse.get(call)
        refusal = waiting.pop(0) if waiting else None
        await self.tell()
        if refusal is None:
            return None
        status, message = refusal
        code = "unknown_session" if status == 404 else "scripted"
        return web.json_response({"error": {"message": message, "code": code}}, status=status)

    async def _register(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.registrations.append(body)
        if refusal := await self._noted("register", request):
            return refusal
        if self.hold_registration:
            await self.tell()
            await self.hold_registration.wait()
        self.session = body.get("providerSessionId") or f"s{len(self.registrations)}"
        answer = {"providerSessionId": self.session, "heartbeatSeconds": self.heartbeat_s, "protocol": 1,
                  "llms": [], "agents": [], "unknownField": 1}
        return web.json_response(answer, status=201)

    async def _heartbeat(self, request: web.Request) -> web.Response:
        return await self._noted("heartbeat", request) or web.json_response({})

    async def _goodbye(self, request: web.Request) -> web.Response:
        return await self._noted("goodbye", request) or web.json_response({})

    async def _status(self, request: web.Request) -> web.Response:
        body = await request.json()
        if refusal := await self._noted("status", request):
            return refusal
        self.statuses.append((body["llmName"], body["status"]))
        await self.tell()
        return web.json_response({})

    async def _request(self, request: web.Request) -> web.Response:
        return await self._noted("request", request) or web.Response(body=self.requests[request.match_info["task"]])

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if refusal := await self._noted("stream", request):
            return refusal
        channel = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await channel.prepare(request)
        self._channel = channel
        await channel.write(b": hello\n\n" + self._given_in_vain())
        self.channels += 1
        self.channel_open = True
        await self.tell()
        try:
            await self._gone.wait()
        finally:
            if self._channel is channel:
                self.channel_open = False
        return channel

    async def _results(self, request: web.Request) -> web.Response:
        lines = [json.loads(line) for line in (await request.read()).split(b"\n") if line]
        if self.hold_results is not None:
            await self.hold_results.wait()
        if refusal := await self._noted("results", request):
            return refusal
        self.posts.append(len(lines))
        answers = [self._frame(line) for line in lines]
        await self.tell()
        if self.lose_answers:
            self.lose_answers -= 1
            request.transport.abort()
        return web.json_response({"results": answers})

    def _frame(self, frame: dict) -> dict:
        told = self.tasks.get(frame["taskId"])
        answer = {"taskId": frame["taskId"], "status": 200}
        if told is None or told.unwanted:
            return {**answer, "status": 404}
        if frame.get("accept"):
            told.accepted += 1
            return answer
        seq = frame.get("seq", len(told.frames))
        if seq < len(told.frames):
            return answer  # a repeat
        if told.ended:
            return {**answer, "status": 404}
        if seq > len(told.frames):
            return {**answer, "status": 409, "expected": len(told.frames)}
        told.frames.append(frame)
        told.ended = "error" in frame or "body" in frame or "bodyBase64" in frame or (
            frame.get("chunk", {}).get("done", False))
        return {**answer, "cancelled": True} if told.cancelled else answer


def _event(frame: dict) -> bytes:
    return f"data: {json.dumps(frame)}\n\n".encode()
