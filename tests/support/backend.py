"""A scripted stand-in for an OpenAI-compatible LLM server.

In a test: ``async with Backend() as backend``. As a process: ``python -m
tests.support.backend --port N``, which also answers ``GET /seen``. What it does
is said by ``Script``, for all requests or, as ``"script": {…}`` in its body, for
one. It remembers every request and whether its client hung up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from aiohttp import web

from tests.support.backend_words import Script, chunk, completion, embeddings, event, text_completion, usage_chunk
from tests.support.ending import end


@dataclass
class Seen:
    path: str
    headers: dict[str, str]
    body: bytes
    began_at: float = 0.0
    ended_at: float = 0.0
    aborted: bool = False
    finished: bool = False


@dataclass
class Backend:
    script: Script = field(default_factory=Script)
    up: bool = True
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    checks: int = 0
    most_at_once: int = 0
    models: list[str] = field(default_factory=lambda: ["m"])

    def __post_init__(self) -> None:
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._now = 0
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/seen", self._tell)
        app.router.add_post("/release", self._release)
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            app.router.add_post(path, self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._runner is not None:
            await end(self._runner)
            self._runner = None

    async def __aenter__(self) -> Backend:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def until(self, condition: Callable[[], bool], limit_s: float = 20.0) -> None:
        async with asyncio.timeout(limit_s), self._changed:
            await self._changed.wait_for(condition)

    async def _told(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _models(self, request: web.Request) -> web.Response:
        self.checks += 1
        await self._told()
        if not self.up:
            return web.json_response({"error": "loading"}, status=503)
        return web.json_response({"object": "list", "data": [{"id": one, "object": "model"} for one in self.models]})

    async def _tell(self, request: web.Request) -> web.Response:
        seen = [{**asdict(one), "body": one.body.decode(errors="replace")} for one in self.seen]
        return web.json_response({"seen": seen, "mostAtOnce": self.most_at_once})

    async def _release(self, request: web.Request) -> web.Response:
        self._released.set()
        return web.Response()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        # Monotonic time is the same for all processes of a machine.
        seen = Seen(request.path, dict(request.headers), body, began_at=time.monotonic())
        self.seen.append(seen)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await self._told()
        try:
            answer = await self._said(request, body, len(self.seen))
            seen.finished = True
            return answer
        except (asyncio.CancelledError, ConnectionError):
            seen.aborted = True
            raise
        finally:
            seen.ended_at = time.monotonic()
            self._now -= 1
            await asyncio.shield(self._told())

    async def _said(self, request: web.Request, body: bytes, number: int) -> web.StreamResponse:
        asked = json.loads(body)
        script = replace(self.script, **asked.get("script", {}))
        asked["id"] = f"c{number}" if script.numbered else "c"
        if script.fails_first and sum(one.body == body for one in self.seen) <= script.fails_first:
            script = replace(script, status=503)
        if script.hang == "head":
            await asyncio.Event().wait()
        if script.held == "head":
            await self._released.wait()
        if script.malformed:
            request.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            request.transport.close()
            raise ConnectionResetError
        headers = {"Retry-After": script.retry_after} if script.retry_after else {}
        if script.html:
            return web.Response(text="<h1>oops</h1>", content_type="text/html", status=script.status, headers=headers)
        if script.status >= 400:
            error = {"error": {"message": "scripted", "type": "scripted", "code": "scripted"}}
            return web.json_response(error, status=script.status, headers=headers)
        if script.echo:
            return web.Response(body=body, content_type="application/json")
        if script.latin1:
            return web.Response(body=b"caf\xe9", content_type="application/json")
        if request.path.endswith("/embeddings"):
            return web.json_response(embeddings(asked))
        if asked.get("stream"):
            return await self._stream(request, asked, script)
        await asyncio.sleep(script.delay_s * script.tokens)
        made = text_completion if request.path == "/v1/completions" else completion
        return web.json_response(made(asked, script))

    async def _stream(self, request: web.Request, asked: dict, script: Script) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number in range(script.tokens):
            if number == script.break_after:
                request.transport.abort()
                raise ConnectionResetError
            if script.delay_s:
                await asyncio.sleep(script.delay_s)
            if number == 1 and script.held == "stream":
                await self._released.wait()
            await self._write(answer, event(json.dumps(chunk(asked, script, number), ensure_ascii=False), script))
        if script.hang == "stream":
            await asyncio.Event().wait()
        if asked.get("stream_options", {}).get("include_usage"):
            await self._write(answer, event(json.dumps(usage_chunk(asked, script)), script))
        if not script.no_done:
            await self._write(answer, event("[DONE]", script))
        await answer.write_eof()
        return answer

    async def _write(self, answer: web.StreamResponse, event: bytes) -> None:
        parts = [event]
        if self.script.torn:
            parts = [event[i : i + 1] for i in range(len(event))]
        for part in parts:
            await answer.write(part)
            if self.script.torn:
                await asyncio.sleep(0)


async def _serve(port: int, script: Script) -> None:
    async with Backend(script=script, port=port) as backend:
        print(f"backend at {backend.url}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="a scripted OpenAI-compatible server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=json.loads, default={}, help="JSON object of Script's fields")
    told = parser.parse_args()
    try:
        asyncio.run(_serve(told.port, Script(**told.script)))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
