"""A scripted stand-in for Anthropic's API, or for a local server that speaks it.

``async with Anthropic() as engine: engine.url``. It answers as ``Script`` says and
refuses, as the real one does, what breaks the API's rules: a request that gets an
answer was a proper one (unless it is not ``strict``). It remembers every request and whether its client hung up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.ending import end
from tests.support.engines.anthropic_rules import broken_rule


def text(*words: str) -> dict:
    return {"type": "text", "pieces": words or ("tök", "€n", " 🙂")}


def thinking(*words: str) -> dict:
    return {"type": "thinking", "pieces": words}


def tool(call_id: str, name: str, *pieces: str) -> dict:
    """``pieces``: its arguments, as JSON cut into pieces; none: a tool without arguments."""
    return {"type": "tool_use", "id": call_id, "name": name, "pieces": pieces}


@dataclass
class Script:
    blocks: tuple[dict, ...] = (text(),)
    stop_reason: str = "end_turn"
    usage: dict = field(default_factory=lambda: {"input_tokens": 5, "output_tokens": 3})
    status: int = 200
    error: object = None  # the body of an answer that is no answer; with status 200: an event in the stream
    headers: dict[str, str] = field(default_factory=dict)
    hang: str = ""  # "head": never answers; "stream": stops after the first piece
    cut_after: int = -1  # hangs up after that many bytes of the stream
    write_bytes: int = 0  # the stream is written in pieces of that size
    raw: bytes | None = None  # said instead of everything else
    content_type: str = ""
    malformed: bool = False  # not HTTP


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    aborted: bool = False

    @property
    def json(self) -> dict:
        return json.loads(self.body)


@dataclass
class Anthropic:
    script: Script = field(default_factory=Script)
    names: tuple[str, ...] = ("claude-a", "claude-b", "claude-c")
    page: int = 2  # models per page at most
    key: str | None = None  # refuses every other
    port: int = 0
    strict: bool = True  # knows no more of the API than a translated request needs
    models_answer: tuple[int, bytes] | None = None
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Seen:
        """The last request that it was asked to answer; looks whether it is there do not count."""
        return [one for one in self.seen if one.method == "POST"][-1]

    @property
    def asked(self) -> dict:
        return self.last.json

    async def __aenter__(self) -> Anthropic:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/{prefix:.*}v1/models", self._models)
        app.router.add_post("/{prefix:.*}v1/messages", self._messages)
        app.router.add_post("/{prefix:.*}v1/messages/count_tokens", self._messages)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._runner)

    async def until(self, condition: Callable[[], bool], limit_s: float = 20.0) -> None:
        async with asyncio.timeout(limit_s), self._changed:
            await self._changed.wait_for(condition)

    async def _told(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _saw(self, request: web.Request) -> Seen:
        seen = Seen(request.method, request.path_qs, dict(request.headers), await request.read())
        self.seen.append(seen)
        await self._told()
        return seen

    async def _models(self, request: web.Request) -> web.Response:
        await self._saw(request)
        if self.script.hang == "head":
            await asyncio.Event().wait()
        if self.models_answer is not None:
            status, body = self.models_answer
            return web.Response(status=status, body=body, content_type="application/json")
        if self.key is not None and request.headers.get("x-api-key") != self.key:
            return _error(401, "authentication_error", "invalid x-api-key")
        begin = self.names.index(request.query["after_id"]) + 1 if "after_id" in request.query else 0
        listed = self.names[begin:begin + self.page]
        return web.json_response({
            "data": [{"type": "model", "id": name, "display_name": name} for name in listed],
            "has_more": begin + self.page < len(self.names),
            "first_id": listed[0] if listed else None, "last_id": listed[-1] if listed else None,
        })

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        seen = await self._saw(request)
        try:
            return await self._said(request, seen)
        except (asyncio.CancelledError, ConnectionError):
            seen.aborted = True
            raise
        finally:
            await asyncio.shield(self._told())

    async def _said(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        script = self.script
        if script.hang == "head":
            await asyncio.Event().wait()
        if script.malformed:
            request.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            request.transport.close()
            raise ConnectionResetError
        if self.key is not None and request.headers.get("x-api-key") != self.key:
            return _error(401, "authentication_error", "invalid x-api-key")
        if self.strict and (broken := broken_rule(seen.headers, seen.json)):
            return _error(400, "invalid_request_error", broken)
        if script.status != 200:
            body = script.raw if script.raw is not None else json.dumps(script.error).encode()
            kind = script.content_type or "application/json"
            return web.Response(status=script.status, body=body, content_type=kind, headers=script.headers)
        asked = seen.json
        if request.path.endswith("/count_tokens"):
            return web.json_response({"input_tokens": 17}, headers=script.headers)
        if not asked.get("stream") or script.content_type:
            body = script.raw if script.raw is not None else json.dumps(message(asked, script)).encode()
            return web.Response(body=body, content_type=script.content_type or "application/json", headers=script.headers)
        return await self._stream(request, script.raw if script.raw is not None else stream(asked, script))

    async def _stream(self, request: web.Request, said: bytes) -> web.StreamResponse:
        script = self.script
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", **script.headers})
        await answer.prepare(request)
        if script.hang == "stream":
            await answer.write(said[:said.index(b"_delta") + 200])
            await asyncio.Event().wait()
        if script.cut_after >= 0:
            await answer.write(said[:script.cut_after])
            request.transport.close()
            raise ConnectionResetError
        size = script.write_bytes or len(said) or 1
        for begin in range(0, len(said), size):
            await answer.write(said[begin:begin + size])
            await asyncio.sleep(0)
        await answer.write_eof()
        return answer


def _error(status: int, kind: str, text: str) -> web.Response:
    return web.json_response({"type": "error", "error": {"type": kind, "message": text}}, status=status)


def message(asked: dict, script: Script) -> dict:
    said = []
    for block in script.blocks:
        whole = "".join(block["pieces"])
        made = {name: value for name, value in block.items() if name != "pieces"}
        match block["type"]:
            case "text":
                made["text"] = whole
            case "thinking":
                made |= {"thinking": whole, "signature": "c2ln"}
            case "tool_use":
                made["input"] = json.loads(whole or "{}")
        said.append(made)
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "content": said,
            "stop_reason": script.stop_reason, "stop_sequence": None, "usage": script.usage}


def stream(asked: dict, script: Script) -> bytes:
    """The whole stream of an answer, as the API writes it."""
    begun = {**message(asked, script), "content": [], "stop_reason": None, "usage": {**script.usage, "output_tokens": 1}}
    events = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(script.blocks):
        events += _block_events(index, block)
    if script.error is not None:
        events.append({"type": "error", "error": script.error})
    else:
        stop = {"stop_reason": script.stop_reason, "stop_sequence": None}
        usage = {"output_tokens": script.usage.get("output_tokens", 0)}
        events += [{"type": "message_delta", "delta": stop, "usage": usage}, {"type": "message_stop"}]
    return b"".join(event(one) for one in events)


def event(said: dict) -> bytes:
    return f"event: {said['type']}\ndata: {json.dumps(said, ensure_ascii=False)}\n\n".encode()


def _block_events(index: int, block: dict) -> list[dict]:
    kind = block["type"]
    made = {name: value for name, value in block.items() if name != "pieces"}
    begin, delta = {
        "text": ({"text": ""}, ("text_delta", "text")),
        "thinking": ({"thinking": "", "signature": ""}, ("thinking_delta", "thinking")),
        "tool_use": ({"input": {}}, ("input_json_delta", "partial_json")),
    }.get(kind, ({}, ("citations_delta", "citation")))
    pieces = block["pieces"] if kind != "tool_use" else ("", *block["pieces"])
    deltas = [{"type": delta[0], delta[1]: piece} for piece in pieces]
    if kind == "thinking":
        deltas.append({"type": "signature_delta", "signature": "c2ln"})
    return [
        {"type": "content_block_start", "index": index, "content_block": made | begin},
        *({"type": "content_block_delta", "index": index, "delta": one} for one in deltas),
        {"type": "content_block_stop", "index": index},
    ]
