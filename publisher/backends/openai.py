"""Whatever speaks OpenAI's HTTP API: asked for its models, and sent requests whose answers are handed on.

The way that requests go is shared by every type but Anthropic's: bytes in,
bytes out, and nothing here looks into them. It has no way to load a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
import msgspec

from publisher.backends.seam import Answer
from publisher.backends.server import Server
from publisher.body import sendable
from publisher.failures import BackendBroken, RecipeFailed, TaskFailed

PATHS = {"chat": "chat/completions", "completions": "completions", "embeddings": "embeddings"}


class ListedModel(msgspec.Struct):
    id: str


class ModelList(msgspec.Struct):
    data: list[ListedModel]


class OpenAIBackend:
    """A type with an API of its own beside OpenAI's says in ``ENDINGS`` how people write its address."""

    TYPE = "openai"
    ENDINGS: tuple[str, ...] = ()  # none: the address is that of the OpenAI API itself
    operations: tuple[str, ...] = ()

    def __init__(self, http: aiohttp.ClientSession, url: str, api_key: str | None, check_timeout_s: float) -> None:
        self._http = http
        self._server = Server(http, url, api_key, check_timeout_s, self.ENDINGS)
        self.url = self._server.url
        self._api = "v1/" if self.ENDINGS else ""
        self._paths = {operation: self._server.at(self._api + path) for operation, path in PATHS.items()}

    async def available(self, model: str, resident: bool) -> bool:
        """401 or 404 is an answer too; 5xx is a server that still loads, or whose list fails though it is well."""
        try:
            return await self._server.status(self._api + "models") < 500 or await self._server.healthy()
        except TaskFailed:
            return False

    async def models(self) -> list[str]:
        return [model.id for model in (await self._server.ask(self._api + "models", ModelList)).data]

    async def slots(self, model: str) -> int | None:
        return None

    async def infer(
        self, operation: str, body: bytes, streaming: bool, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The server's answer, its head read and its body not yet; the caller closes it."""
        path = self._paths.get(operation)
        if path is None:
            raise BackendBroken(f'this publisher does not know the operation "{operation}": update it')
        accept = {"Accept": "text/event-stream" if streaming else "application/json"}
        try:
            return await self._http.post(path, data=sendable(body), headers=self._server.headers | accept, allow_redirects=False)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as err:
            raise self._server.unreached(err) from None

    async def load(self, model: str, keep_alive: str | None) -> None:
        raise self._has_no_way("load")

    async def unload(self, model: str, level: int | None) -> None:
        raise self._has_no_way("unload")

    def _has_no_way(self, to: str) -> RecipeFailed:
        return RecipeFailed(f"type {self.TYPE} has no way of its own to {to} a model: use an http or command recipe")
