"""Asks the broker as any client would: rows, and one streaming chat completion.

It only takes an answer for good that ends as the API promises, with ``[DONE]``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp


class AskFailed(Exception):
    """The answer was a refusal, or broke."""


@dataclass
class Answer:
    text: str = ""
    tokens: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0


class Client:
    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url

    async def llm(self, name: str) -> dict | None:
        """The row of that name, if there is one."""
        async with self._http.get(f"{self.url}/api/v1/llms") as response:
            if response.status != 200:
                raise AskFailed(_refusal(response.status, await response.read()))
            return next((row for row in await response.json() if row["name"] == name), None)

    async def chat(self, model: str, prompt: str, hear: Callable[[str], None]) -> Answer:
        """Each token goes to ``hear`` when it comes."""
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}
        began = time.monotonic()
        answer = Answer()
        try:
            async with self._http.post(f"{self.url}/v1/chat/completions", json=body) as response:
                if response.status != 200:
                    raise AskFailed(_refusal(response.status, await response.read()))
                async for line in response.content:
                    data = line.removeprefix(b"data:").strip()
                    if not line.startswith(b"data:"):
                        continue
                    if data == b"[DONE]":
                        answer.total_s = time.monotonic() - began
                        return answer
                    _take(answer, data, began, hear)
        except aiohttp.ClientError as error:
            raise AskFailed(f"the request broke: {error!r}") from None
        raise AskFailed("the answer ended without [DONE]")


def _take(answer: Answer, data: bytes, began: float, hear: Callable[[str], None]) -> None:
    event = json.loads(data)
    if "error" in event:
        raise AskFailed(f"the request was refused: {event['error'].get('message')}")
    for choice in event.get("choices", []):
        delta = choice.get("delta", {})
        # Models that think aloud say so in a field of its own.
        text = delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or ""
        if text:
            answer.first_token_s = answer.first_token_s or time.monotonic() - began
            answer.tokens += 1
            answer.text += text
            hear(text)


def _refusal(status: int, body: bytes) -> str:
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")[:300]
    return f"the broker answered {status}: {message}"
