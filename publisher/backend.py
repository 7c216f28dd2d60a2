"""The LLM server that this publisher stands beside: one class per type of server.

A type answers two questions: is it up, and what does it say to a request. The
answer is handed on as it is; nothing here looks into it. Redirects are never
followed: only the configured address is ever called.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp
from yarl import URL

from publisher.body import sendable
from publisher.config import ConfigError, Provider
from publisher.failures import BackendBroken, BackendUnreachable
from publisher.reason import reason

log = logging.getLogger("publisher")

PATHS = {"chat": "/chat/completions", "completions": "/completions", "embeddings": "/embeddings"}


class OpenAIBackend:
    """Whatever speaks OpenAI's HTTP API: vLLM, llama.cpp, LM Studio, Ollama's ``/v1`` …"""

    def __init__(self, http: aiohttp.ClientSession, url: str, api_key: str | None, check_timeout_s: float) -> None:
        self._http = http
        self.url = url.rstrip("/")
        # Uncompressed: it is one machine or one network, and a gzipped stream arrives in lumps.
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._paths = {operation: URL(self.url + path) for operation, path in PATHS.items()}
        self._models = URL(self.url + "/models")
        self._check_timeout = aiohttp.ClientTimeout(total=check_timeout_s)

    async def available(self) -> bool:
        """Whether a server answers. 401 or 404 is an answer too; 5xx is one that still loads."""
        try:
            async with self._http.get(
                self._models, headers=self._headers, timeout=self._check_timeout, allow_redirects=False
            ) as answer:
                return answer.status < 500
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
            return False

    async def infer(self, operation: str, body: bytes, streaming: bool) -> aiohttp.ClientResponse:
        """The server's answer, its head read and its body not yet; the caller closes it."""
        path = self._paths.get(operation)
        if path is None:
            raise BackendBroken(f'this publisher does not know the operation "{operation}": update it')
        accept = "text/event-stream" if streaming else "application/json"
        try:
            return await self._http.post(
                path, data=sendable(body), headers={**self._headers, "Accept": accept}, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as err:
            raise BackendUnreachable(f"backend at {self.url} refused the connection ({reason(err)})") from err
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as err:
            raise BackendBroken(f"backend at {self.url} gave no proper answer ({reason(err)})") from err


TYPES = {"openai": OpenAIBackend}


async def is_up(backend: OpenAIBackend) -> bool:
    """A check that throws is a check that failed."""
    try:
        return await backend.available()
    except Exception as err:
        log.warning("backend at %s could not be checked: %r", backend.url, err)
        return False


def backend_of(provider: Provider, http: aiohttp.ClientSession, check_timeout_s: float) -> OpenAIBackend:
    kind = TYPES.get(provider.type)
    if kind is None:
        known = ", ".join(TYPES)
        raise ConfigError(f'provider "{provider.name}": type "{provider.type}" is not known; known are {known}')
    return kind(http, provider.url, provider.api_key, check_timeout_s)
