"""A scripted stand-in for an OpenAI-compatible LLM server.

In a test: ``async with Backend() as backend``. As a process: ``python -m
tests.support.backend --port N``, which also answers ``GET /seen``. What it does
is said by ``Script``, for all requests or, as ``"script": {…}`` in its body, for
one. It remembers every request and whether its client hung up.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from aiohttp import web


@dataclass
class Script:
    tokens: int = 3
    delay_s: float = 0.0  # before each token
    words: str = "tök€n"  # what a token says, with characters of several bytes
    token_bytes: int = 0  # pads each token
    hang: str = ""  # "head": never answers; "stream": stops after the last token
    status: int = 200
    retry_after: str = ""
    html: bool = False
    break_after: int = -1  # hangs up after that many tokens
    crlf: bool = False
    comments: bool = False
    no_space: bool = False
    no_done: bool = False
    torn: bool = False  # every byte is a write of its own
    echo: bool = False  # the answer is the request's body
    latin1: bool = False  # bytes that are not UTF-8
    malformed: bool = False  # not HTTP


@dataclass
class Seen:
    path: str
    headers: dict[str, str]
    body: bytes
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

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/seen", self._tell)
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            app.router.add_post(path, self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Backend:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def until(self, condition: Callable[[], bool], limit_s: float = 10.0) -> None:
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

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = Seen(request.path, dict(request.headers), body)
        self.seen.append(seen)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await self._told()
        try:
            answer = await self._said(request, body)
            seen.finished = True
            return answer
        except (asyncio.CancelledError, ConnectionError):
            seen.aborted = True
            raise
        finally:
            self._now -= 1
            await asyncio.shield(self._told())

    async def _said(self, request: web.Request, body: bytes) -> web.StreamResponse:
        asked = json.loads(body)
        script = replace(self.script, **asked.get("script", {}))
        if script.hang == "head":
            await asyncio.Event().wait()
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
            return web.json_response(_embeddings(asked))
        if asked.get("stream"):
            return await self._stream(request, asked, script)
        await asyncio.sleep(script.delay_s * script.tokens)
        made = _text_completion if request.path == "/v1/completions" else _completion
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
            await self._write(answer, _event(json.dumps(_chunk(asked, script, number), ensure_ascii=False), script))
        if script.hang == "stream":
            await asyncio.Event().wait()
        if asked.get("stream_options", {}).get("include_usage"):
            await self._write(answer, _event(json.dumps(_usage_chunk(asked, script)), script))
        if not script.no_done:
            await self._write(answer, _event("[DONE]", script))
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


def _event(payload: str, script: Script) -> bytes:
    text = f"data:{'' if script.no_space else ' '}{payload}\n\n"
    if script.comments:
        text = f": ping\n\nevent: message\nid: 7\n{text}"
    return text.replace("\n", "\r\n" if script.crlf else "\n").encode()


def _word(script: Script, number: int) -> str:
    return f"{script.words}{number} " + "x" * script.token_bytes


def _chunk(asked: dict, script: Script, number: int) -> dict:
    delta: dict = {"content": _word(script, number)}
    if _calls(asked):
        call = {"index": 0, "function": {"arguments": "{" if number == 0 else ""}}
        if number == 0:
            call |= {"id": "call_1", "type": "function"}
            call["function"]["name"] = asked["tools"][0]["function"]["name"]
        if number == script.tokens - 1:
            call["function"]["arguments"] += "}"
        delta = {"tool_calls": [call]}
    return {"id": "c", "object": "chat.completion.chunk", "model": asked.get("model"),
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def _usage_chunk(asked: dict, script: Script) -> dict:
    return {"id": "c", "object": "chat.completion.chunk", "model": asked.get("model"), "choices": [], "usage": _usage(script)}


def _usage(script: Script) -> dict:
    return {"prompt_tokens": 1, "completion_tokens": script.tokens, "total_tokens": 1 + script.tokens}


def _text_completion(asked: dict, script: Script) -> dict:
    text = "".join(_word(script, number) for number in range(script.tokens))
    return {"id": "c", "object": "text_completion", "model": asked.get("model"), "usage": _usage(script),
            "choices": [{"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}]}


def _completion(asked: dict, script: Script) -> dict:
    message: dict = {"role": "assistant", "content": "".join(_word(script, n) for n in range(script.tokens))}
    if _calls(asked):
        call = {"name": asked["tools"][0]["function"]["name"], "arguments": "{}"}
        message = {"role": "assistant", "content": None,
                   "tool_calls": [{"id": "call_1", "type": "function", "function": call}]}
    return {"id": "c", "object": "chat.completion", "model": asked.get("model"), "usage": _usage(script), "unknown_field": 1.0,
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if _calls(asked) else "stop"}]}


def _calls(asked: dict) -> bool:
    """Whether it calls its first tool: until it is told what that gave."""
    return bool(asked.get("tools")) and asked["messages"][-1]["role"] != "tool"


def _embeddings(asked: dict) -> dict:
    given = asked.get("input", "")
    vector: object = [0.25, -1.0, 0.5]
    if asked.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", 0.25, -1.0, 0.5)).decode()
    texts = given if isinstance(given, list) else [given]
    data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(len(texts))]
    return {"object": "list", "data": data, "model": asked.get("model"), "usage": {"prompt_tokens": 1, "total_tokens": 1}}


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
