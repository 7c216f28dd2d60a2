"""A server that speaks Anthropic's Messages API: Anthropic's own, or a local one.

Callers speak its API to it, and their words pass as they are, or OpenAI's chat, whose words are
changed in ``broker/dialects``. It chats and nothing else. It never retries, and never follows a
redirect, which would carry the key elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from msgspec import Struct

from broker.dialects.anthropic_answer import RefusedAnswer, TranslatedAnswer
from broker.dialects.anthropic_request import Untranslatable, asked_of
from broker.dialects.messages_native import NativeAnswer
from broker.wire import MESSAGES, MESSAGES_HEADERS
from publisher.backends.seam import Answer
from publisher.backends.server import Server
from publisher.body import sendable
from publisher.failures import BackendBroken, RecipeFailed, TaskFailed

VERSION = "2023-06-01"
PAGE = 1000  # models per page, the most that the API gives
MOST_PAGES = 20


class _Model(Struct):
    id: str


class _Page(Struct):
    data: list[_Model]
    has_more: bool | None = None


class AnthropicBackend:
    operations = ("chat", MESSAGES)

    def __init__(self, http: aiohttp.ClientSession, url: str, api_key: str | None, check_timeout_s: float) -> None:
        self._http = http
        self._server = Server(http, url, api_key, check_timeout_s, endings=("/v1",))
        self.url = self._server.url
        self._messages = self._server.at("v1/messages")
        headers = self._server.headers
        headers["anthropic-version"] = VERSION
        if api_key:
            del headers["Authorization"]  # here a key has a header of its own
            headers["x-api-key"] = api_key

    async def available(self, model: str, resident: bool) -> bool:
        """Whether a server answers. 401 or 404 is an answer too; 5xx is one that still loads."""
        try:
            return await self._server.status("v1/models") < 500
        except TaskFailed:
            return False

    async def models(self) -> list[str]:
        names: list[str] = []
        for _ in range(MOST_PAGES):
            after = {"after_id": names[-1]} if names else {}
            page = await self._server.ask("v1/models", _Page, limit=str(PAGE), **after)
            names += [model.id for model in page.data]
            if not page.has_more or not page.data:
                break
        return names

    async def slots(self, model: str) -> int | None:
        return None

    async def infer(
        self, operation: str, body: bytes, streaming: bool, headers: Mapping[str, str] | None = None
    ) -> Answer:
        if operation == MESSAGES:
            own = {name: value for name, value in (headers or {}).items() if name in MESSAGES_HEADERS}
            return NativeAnswer(await self._post(body, own), streaming)
        if operation != "chat":
            raise TaskFailed(f'a backend of type anthropic only chats: it has no "{operation}"', "unsupported_operation")
        try:
            asked = asked_of(body, streaming)
        except Untranslatable as why:
            return RefusedAnswer(why)
        return TranslatedAnswer(await self._post(asked.body, {}), asked.include_usage)

    async def _post(self, body: bytes, headers: dict[str, str]) -> aiohttp.ClientResponse:
        try:
            answer = await self._http.post(
                self._messages, data=sendable(body), headers=self._server.headers | headers, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as err:
            raise self._server.unreached(err) from None
        if 300 <= answer.status < 400:
            answer.close()
            raise BackendBroken(f"backend at {self.url} redirects ({answer.status}): set url to where it really is")
        return answer

    async def load(self, model: str, keep_alive: str | None) -> None:
        raise RecipeFailed("type anthropic has no way of its own to load a model: use an http or command recipe")

    async def unload(self, model: str, level: int | None) -> None:
        raise RecipeFailed("type anthropic has no way of its own to unload a model: use an http or command recipe")
