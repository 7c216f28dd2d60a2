"""Asks the broker as any client would: for the row, for a chat completion as a stream, and for one at once.

An answer is only taken for good when it ends as the API promises, with ``[DONE]``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

MOST_TOKENS = 24
PROMPT = "Good morning!"


class AskFailed(Exception):
    """The answer was a refusal, broke, or is not what it must be."""


@dataclass
class Answer:
    text: str = ""
    pieces: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0


class Client:
    def __init__(self, http: aiohttp.ClientSession, url: str, model: str) -> None:
        self.url = url
        self._http = http
        self._asked = {
            "model": model, "max_tokens": MOST_TOKENS, "messages": [{"role": "user", "content": PROMPT}],
        }

    async def row(self) -> dict | None:
        """The LLM's row, if there is one."""
        async with self._http.get(f"{self.url}/api/v1/llms") as response:
            return next((row for row in await response.json() if row["name"] == self._asked["model"]), None)

    async def stream(self, hear: Callable[[str], None]) -> Answer:
        """Each piece goes to ``hear`` when it comes."""
        began = time.monotonic()
        answer = Answer()
        async for event in self._events():
            if "error" in event:
                raise AskFailed(f"the request was refused: {event['error'].get('message')}")
            for choice in event["choices"]:
                if piece := choice["delta"].get("content"):
                    answer.first_token_s = answer.first_token_s or time.monotonic() - began
                    answer.pieces += 1
                    answer.text += piece
                    hear(piece)
        if not answer.text:
            raise AskFailed("the answer is empty")
        answer.total_s = time.monotonic() - began
        return answer

    async def at_once(self) -> dict:
        async with self._post({}) as response:
            answer = json.loads(await _good(response))
        if not answer["choices"][0]["message"]["content"]:
            raise AskFailed(f"the answer is empty: {answer}")
        return answer

    async def _events(self):
        try:
            async with self._post({"stream": True}) as response:
                if response.status != 200:
                    await _good(response)
                async for line in response.content:
                    data = line.removeprefix(b"data:").strip()
                    if data == b"[DONE]":
                        return
                    if line.startswith(b"data:"):
                        yield json.loads(data)
        except aiohttp.ClientError as error:
            raise AskFailed(f"the request broke: {error!r}") from None
        raise AskFailed("the answer ended without [DONE]")

    def _post(self, more: dict):
        return self._http.post(f"{self.url}/v1/chat/completions", json={**self._asked, **more})


async def _good(response: aiohttp.ClientResponse) -> bytes:
    body = await response.read()
    if response.status == 200:
        return body
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")[:300]
    raise AskFailed(f"the broker answered {response.status}: {message}")
