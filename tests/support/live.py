"""A streaming chat with a real process, read event by event, with a limit on each wait."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from tests.support.brokers import Replica


class Stream:
    """``async with Stream(broker, "m", script={…}) as stream``; leaving it hangs up.

    ``status`` and ``headers`` are the answer's. Comments and other lines are not
    events: ``next`` and ``rest`` give the payloads of ``data:`` lines only.
    """

    def __init__(self, broker: Replica, model: str, *, headers: dict | None = None, **body):
        self._broker = broker
        self._headers = headers
        self._body = {"model": model, "messages": [], "stream": True, **body}
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Stream:
        self._response = await self._broker.http.post(
            self._broker.url + "/v1/chat/completions", json=self._body, headers=self._headers
        )
        return self

    async def __aexit__(self, *_) -> None:
        self._response.close()

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self):
        return self._response.headers

    async def next(self, limit_s: float = 20.0) -> str | None:
        """The next payload; None at the end of the answer."""
        async with asyncio.timeout(limit_s):
            while line := await self._response.content.readline():
                if line.startswith(b"data: "):
                    return line[6:].rstrip(b"\n").decode()
        return None

    async def rest(self, limit_s: float = 20.0) -> list[str]:
        """All payloads that are still to come, to the end of the answer."""
        payloads = []
        async with asyncio.timeout(limit_s):
            while (payload := await self.next(limit_s)) is not None:
                payloads.append(payload)
        return payloads


def word(payload: str) -> str:
    """The text of one chunk."""
    return json.loads(payload)["choices"][0]["delta"]["content"]


def error(payload: str) -> dict:
    """The error that a payload is."""
    return json.loads(payload)["error"]
