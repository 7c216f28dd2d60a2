"""A demo, no LLM: it speaks OpenAI's API and echoes, word by word.

A program of its own (``--port``), started by hand or by a publisher.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import re
import signal
import struct
import time
from contextlib import suppress

from aiohttp import web

MODEL = "demo-echo"
WORD_S = 0.03
DIMENSIONS = 8


class Refused(Exception):
    """The request makes no sense; the text says why."""


def said(asked: dict) -> str:
    """The last message's text, or the prompt of a plain completion."""
    if "prompt" in asked:
        prompt = asked["prompt"]
        return prompt if isinstance(prompt, str) else " ".join(str(part) for part in prompt)
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        raise Refused("messages must be a list of at least one message")
    content = messages[-1].get("content") or ""
    if isinstance(content, list):
        content = " ".join(part["text"] for part in content if isinstance(part, dict) and part.get("type") == "text")
    return str(content)


def words(asked: dict) -> tuple[list[str], str]:
    """What is answered, and the finish reason."""
    answer = re.findall(r"\S+\s*", f"You said: {said(asked)}")
    most = asked.get("max_completion_tokens") or asked.get("max_tokens")
    if isinstance(most, int) and 0 < most < len(answer):
        return answer[:most], "length"
    return answer, "stop"


def usage(asked: dict, answer: list[str]) -> dict:
    given = len(said(asked).split())
    return {"prompt_tokens": given, "completion_tokens": len(answer), "total_tokens": given + len(answer)}


def shape(asked: dict, kind: str) -> dict:
    prefix = "chatcmpl" if kind.startswith("chat") else "cmpl"
    return {"id": f"{prefix}-{time.time_ns():x}", "object": kind, "created": int(time.time()),
            "model": asked.get("model") or MODEL}


async def chat(request: web.Request) -> web.StreamResponse:
    asked = await read(request)
    answer, reason = words(asked)
    if asked.get("stream"):
        def chunk(text: str | None, finish: str | None) -> dict:
            return {"index": 0, "delta": {} if text is None else {"role": "assistant", "content": text},
                    "finish_reason": finish}
        return await stream(request, asked, shape(asked, "chat.completion.chunk"), answer, reason, chunk)
    choice = {"index": 0, "message": {"role": "assistant", "content": "".join(answer)}, "finish_reason": reason}
    return web.json_response({**shape(asked, "chat.completion"), "choices": [choice],
                              "usage": usage(asked, answer)})


async def completions(request: web.Request) -> web.StreamResponse:
    asked = await read(request)
    asked.setdefault("prompt", "")
    answer, reason = words(asked)
    kind = shape(asked, "text_completion")
    if asked.get("stream"):
        def chunk(text: str | None, finish: str | None) -> dict:
            return {"index": 0, "text": text or "", "finish_reason": finish}
        return await stream(request, asked, kind, answer, reason, chunk)
    choice = {"index": 0, "text": "".join(answer), "finish_reason": reason}
    return web.json_response({**kind, "choices": [choice], "usage": usage(asked, answer)})


async def stream(request, asked, kind, answer, reason, chunk) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    for word in answer:
        await asyncio.sleep(WORD_S)
        await send(response, {**kind, "choices": [chunk(word, None)]})
    await send(response, {**kind, "choices": [chunk(None, reason)]})
    if (asked.get("stream_options") or {}).get("include_usage"):
        await send(response, {**kind, "choices": [], "usage": usage(asked, answer)})
    await response.write(b"data: [DONE]\n\n")
    return response


async def send(response: web.StreamResponse, event: dict) -> None:
    await response.write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())


async def embeddings(request: web.Request) -> web.Response:
    asked = await read(request)
    texts = asked.get("input")
    texts = texts if isinstance(texts, list) and texts and not isinstance(texts[0], int) else [texts]
    data = []
    for index, text in enumerate(texts):
        vector: list[float] | str = [byte / 255 for byte in hashlib.sha256(str(text).encode()).digest()[:DIMENSIONS]]
        if asked.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    count = sum(len(str(text).split()) for text in texts)
    return web.json_response({"object": "list", "model": asked.get("model") or MODEL, "data": data,
                              "usage": {"prompt_tokens": count, "total_tokens": count}})


async def models(request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [
        {"id": MODEL, "object": "model", "created": 0, "owned_by": "demo"}]})


async def read(request: web.Request) -> dict:
    try:
        asked = await request.json()
    except ValueError:
        raise Refused("the body is not JSON") from None
    if not isinstance(asked, dict):
        raise Refused("the body must be a JSON object")
    return asked


@web.middleware
async def refusals(request: web.Request, handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as error:
        told = {"message": str(error), "type": "invalid_request_error", "code": None, "param": None}
        return web.json_response({"error": told}, status=400)


async def serve(port: int) -> None:
    app = web.Application(middlewares=[refusals], client_max_size=64 << 20)
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/completions", completions)
    app.router.add_post("/v1/embeddings", embeddings)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"the demo backend listens on http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await over.wait()
    await runner.cleanup()


def main() -> None:
    arguments = argparse.ArgumentParser(description="The demo backend: it echoes.")
    arguments.add_argument("--port", type=int, default=0)
    told = arguments.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(told.port))


if __name__ == "__main__":
    main()
