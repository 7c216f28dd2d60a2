"""Batches of a test: made from lines, followed to their end, and the publisher that answers them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from tests.support.brokers import Replica
from tests.support.messages import completion
from tests.support.provider import Provider
from tests.support.waiting import eventually

FILES, BATCHES = "/v1/files", "/v1/batches"
CHAT = "/v1/chat/completions"
SOON = {"job_poll_seconds": 0.05, "job_retry_seconds": 0.01}
ENDED = ("failed", "completed", "expired", "cancelled")


def line(custom_id: str, content: str = "hello", *, model: str = "m", url: str = CHAT, **more) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": content}], **more}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


async def upload(broker: Replica, text: str, headers: dict | None = None, *, expires_after_s: int | None = None) -> str:
    form = aiohttp.FormData({"purpose": "batch"})
    if expires_after_s:
        form.add_field("expires_after[anchor]", "created_at")
        form.add_field("expires_after[seconds]", str(expires_after_s))
    form.add_field("file", text.encode(), filename="lines.jsonl")
    async with broker.http.post(broker.url + FILES, data=form, headers=headers) as response:
        file = await response.json()
        assert response.status == 200, file
        return file["id"]


async def create(
    broker: Replica, text: str = "", *, file: str = "", endpoint: str = CHAT, window: str = "24h", headers: dict | None = None, **more
) -> dict:
    """A batch of these lines, or of the ``file`` that has them."""
    file = file or await upload(broker, text, headers)
    body = {"input_file_id": file, "endpoint": endpoint, "completion_window": window, **more}
    status, batch, _ = await broker.call("POST", BATCHES, body, headers=headers)
    assert status == 200, batch
    return batch


async def get(broker: Replica, batch: dict, headers: dict | None = None) -> dict:
    return (await broker.call("GET", f"{BATCHES}/{batch['id']}", headers=headers))[1]


async def ended(broker: Replica, batch: dict, limit_s: float = 20.0, headers: dict | None = None) -> dict:
    async def done() -> dict | None:
        now = await get(broker, batch, headers)
        return now if now["status"] in ENDED else None

    return await eventually(done, limit_s)


async def lines_of(broker: Replica, file: str | None, headers: dict | None = None) -> list[dict]:
    """The lines of an output or an errors file; none where there is none."""
    if file is None:
        return []
    async with broker.http.get(f"{broker.url}{FILES}/{file}/content", headers=headers) as response:
        assert response.status == 200, await response.text()
        text = await response.read()
    assert text.endswith(b"\n")
    return [json.loads(one) for one in text.splitlines()]


@asynccontextmanager
async def answering(provider: Provider, delay_s: float = 0.0) -> AsyncIterator[list[str]]:
    """Answers whatever comes, with what was said; gives the contents that were asked."""
    seen: list[str] = []
    running: set[asyncio.Task] = set()

    async def answer(frame: dict) -> None:
        content = frame["request"]["messages"][-1]["content"]
        seen.append(content)
        await asyncio.sleep(delay_s)
        if content == "refuse":
            await provider.answer(frame, {"error": {"message": "no"}}, status=400)
        else:
            await provider.answer(frame, completion(content=f"{content}!"))

    async def listen() -> None:
        while True:
            frame = await provider.frames.get()
            if frame["kind"] == "infer":
                task = asyncio.create_task(answer(frame))
                running.add(task)
                task.add_done_callback(running.discard)
            elif frame["kind"] == "cancel":
                await provider.fail(frame, "cancelled", "cancelled")

    listening = asyncio.create_task(listen())
    try:
        yield seen
    finally:
        for task in (listening, *running):
            task.cancel()
            with suppress(asyncio.CancelledError, aiohttp.ClientError):
                await task
