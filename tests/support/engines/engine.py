"""What all fake LLM servers share: models that load and unload, faults on demand, a memory of what was asked.

A fault is set by method and path, ``engine.faults["POST /api/generate"] = 500``;
the path alone, or ``"*"``, works too. Its value: a status · a dict or list (that
JSON with 200) · ``(status, JSON)`` · "hang" (never answers) · "stall" (a head, then
nothing) · "html" · "half" (hangs up inside the body) · "garbage" (not HTTP) ·
"redirect" · another server's url (redirected there, path and method kept).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web

from tests.support.backend import Backend, Script
from tests.support.ending import end

Fault = int | str | dict | list | tuple[int, object]
CREATED = 1_780_000_000


class Seen(NamedTuple):
    method: str
    path: str  # with the query
    body: object  # what its JSON says; None without one


@dataclass
class Model:
    name: str
    embedding: bool = False
    loaded: bool = False
    loading: bool = False
    leaving: bool = False  # unloads when its last request ends
    running: int = 0
    loads: int = 0
    used: int = 0  # a counter, for the least recently used
    instances: list[str] = field(default_factory=list)
    exit_code: int = 0
    one_load: asyncio.Lock = field(default_factory=asyncio.Lock)


class LoadFailed(Exception):
    pass


class Engine:
    """``models``: names, or ``Model``s. ``embeddings``: the names of those that only embed."""

    kind = ""
    open_paths: tuple[str, ...] = ()  # what needs no key

    def __init__(
        self,
        models: Iterable[str | Model] = ("m",),
        *,
        embeddings: Iterable[str] = (),
        port: int = 0,
        load_s: float = 0.0,
        api_key: str = "",
        script: Script | None = None,
    ) -> None:
        told = [one if isinstance(one, Model) else Model(one) for one in models]
        told += [Model(name, embedding=True) for name in embeddings]
        self.models = {one.name: one for one in told}
        self.port = port
        self.load_s = load_s
        self.hold: asyncio.Event | None = None  # as long as it is not set, loads do not end
        self.load_fails: dict[str, int] = {}  # model → exit code
        self.api_key = api_key
        self.seen: list[Seen] = []
        self.headers: list[dict[str, str]] = []  # one for each of seen
        self.faults: dict[str, Fault] = {}
        self.talk = Backend(script=script or Script())
        self._runner: web.AppRunner | None = None
        self._uses = 0

    # ── what a test reads and does ──────────────────────────────────────────

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def most_at_once(self) -> int:
        return self.talk.most_at_once

    @property
    def loaded(self) -> list[str]:
        return [model.name for model in self.models.values() if model.loaded]

    @property
    def loads(self) -> int:
        return sum(model.loads for model in self.models.values())

    def asked(self, path: str) -> list[object]:
        """The bodies of the requests to that path (query left out)."""
        return [seen.body for seen in self.seen if seen.path.partition("?")[0] == path]

    def idle(self) -> None:
        """As after a while without requests: what the server does then by itself."""
        for model in self.models.values():
            self._unload(model)

    async def die(self) -> None:
        """As by kill -9: every connection is reset, the port closed, memory empty."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in list(runner.sites):
            await site.stop()
        for connection in list(runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await end(runner)
        for model in self.models.values():
            model.loaded = model.loading = model.leaving = False
            model.instances.clear()

    async def revive(self) -> None:
        await self.start()

    async def start(self) -> None:
        app = web.Application(client_max_size=64 << 20, middlewares=[self._gate])
        self.routes(app.router)
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            app.router.add_post(path, self._infer)
        app.router.add_route("*", "/{unknown:.*}", self.unknown)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self.hold is not None:
            self.hold.set()
        await self.die()

    async def __aenter__(self) -> Engine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ── what each kind says ─────────────────────────────────────────────────

    def routes(self, router: web.UrlDispatcher) -> None:
        raise NotImplementedError

    def find(self, name: object) -> Model | None:
        return self.models.get(name) if isinstance(name, str) else None

    async def admit(self, name: object) -> Model | web.Response:
        """The model that a request is for, loaded; or the refusal."""
        raise NotImplementedError

    async def unknown(self, request: web.Request) -> web.Response:
        return web.json_response({"detail": "Not Found"}, status=404)

    def refusal(self, status: int, message: str, type_: str = "invalid_request_error") -> web.Response:
        return web.json_response({"error": {"message": message, "type": type_, "code": status}}, status=status)

    # ── models ──────────────────────────────────────────────────────────────

    async def _load(self, model: Model) -> None:
        async with model.one_load:
            if model.loaded:
                return
            model.loading = True
            model.exit_code = 0
            try:
                await asyncio.sleep(self.load_s)
                if self.hold is not None:
                    await self.hold.wait()
                if code := self.load_fails.get(model.name):
                    model.exit_code = code
                    raise LoadFailed(model.name)
                model.loaded = True
                model.loads += 1
            finally:
                model.loading = False

    def _unload(self, model: Model) -> None:
        model.leaving = model.running > 0
        if not model.leaving:
            model.loaded = False
            model.instances.clear()

    @contextlib.asynccontextmanager
    async def _using(self, model: Model) -> AsyncIterator[None]:
        self._uses += 1
        model.used = self._uses
        model.running += 1
        try:
            yield
        finally:
            model.running -= 1
            if model.leaving and not model.running:
                self._unload(model)

    # ── requests ────────────────────────────────────────────────────────────

    async def _infer(self, request: web.Request) -> web.StreamResponse:
        admitted = await self.admit((await request.json()).get("model"))
        if isinstance(admitted, web.Response):
            return admitted
        async with self._using(admitted):
            return await self.talk._answer(request)

    @web.middleware
    async def _gate(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        self.seen.append(Seen(request.method, request.path_qs, body))
        self.headers.append(dict(request.headers))
        if self.api_key and request.path not in self.open_paths:
            if request.headers.get("Authorization") != f"Bearer {self.api_key}":
                return self.refusal(401, "Invalid API Key", "authentication_error")
        for key in (f"{request.method} {request.path}", request.path, "*"):
            if key in self.faults:
                return await self._faulty(request, self.faults[key])
        return await handler(request)

    async def _faulty(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if isinstance(fault, tuple):
            return web.json_response(fault[1], status=fault[0])
        if isinstance(fault, int):
            return self.refusal(fault, "made to fail", "server_error")
        if fault == "html":
            return web.Response(text="<html><h1>It works!</h1></html>", content_type="text/html")
        if fault == "redirect" or str(fault).startswith("http"):
            there = "/" if fault == "redirect" else f"{fault}{request.path_qs}"
            return web.Response(status=307, headers={"Location": there})
        if fault == "hang":
            await asyncio.Event().wait()
        if fault in ("half", "stall"):
            answer = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "4096"})
            await answer.prepare(request)
            await answer.write(b'{"data": [{"id": "m"')
            if fault == "stall":
                await asyncio.Event().wait()
            request.transport.close()
            raise ConnectionResetError
        if fault == "garbage":
            request.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            request.transport.close()
            raise ConnectionResetError
        return web.json_response(fault)
