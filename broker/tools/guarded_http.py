"""The SDK's HTTP requests, made by our own client: guarded addresses, one url, no redirect, so many bytes.

What goes wrong is written down in words (``Way.trouble``), for the SDK's exceptions do not say what to do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import httpx2
from yarl import URL

from broker import __version__
from broker.upstream.guard import ForbiddenAddress

#: Of all answers of one session together.
ANSWER_BYTES = 4 << 20
#: Of one session: twenty pages of a list and what belongs to them. A server can have us answer each word of its own.
REQUESTS = 64
_FAREWELL_S = 2.0
_TAIL_S = 0.05
#: What our client has seen to; of a compressed refusal nothing is unpacked.
_OWN_LENGTH = {"content-length", "content-encoding", "transfer-encoding"}
_OURS = {"host", "connection", "content-length", "user-agent", "accept-encoding"}


class Way(httpx2.AsyncBaseTransport):
    """To the server at ``url``, for one session. ``headers`` go with every request; ``key`` is what is secret in them.

    ``status`` is the last one; ``trouble`` what went wrong with the last request, '' for nothing.
    """

    def __init__(self, client: aiohttp.ClientSession, url: URL, headers: dict[str, str], key: str):
        self.url = url
        self.key = key
        self.status = 0
        self.trouble = ""
        self._client = client
        self._headers = {**headers, "User-Agent": f"reveille/{__version__}", "Accept-Encoding": "identity"}
        self._left = ANSWER_BYTES
        self._requests_left = REQUESTS

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            return await self._say_farewell(request)
        if request.method == "GET" and "last-event-id" not in request.headers:
            # The stream for what a server says unasked: nobody here would listen.
            return httpx2.Response(405, request=request)
        if self._left <= 0 or self._requests_left <= 0:
            raise httpx2.ReadError(self.trouble)
        self.trouble = ""
        self._requests_left -= 1
        if not self._requests_left:
            self.trouble = f"asked back more than {REQUESTS} times and was stopped"
            raise httpx2.ReadError(self.trouble)
        try:
            answer = await self._send(request, await request.aread())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.trouble = _unanswered(error)
            raise httpx2.ConnectError(self.trouble) from None
        self.status = answer.status
        self.trouble = _trouble(answer, bool(self.key))
        if self.trouble and answer.status < 400:
            answer.close()
            raise httpx2.ReadError(self.trouble)
        headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in _OWN_LENGTH]
        return httpx2.Response(answer.status, headers=headers, stream=_Body(self, answer), request=request)

    async def _send(self, request: httpx2.Request, body: bytes, **options) -> aiohttp.ClientResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OURS}
        return await self._client.request(
            request.method, self.url, data=body, headers={**headers, **self._headers}, allow_redirects=False, **options
        )

    async def _say_farewell(self, request: httpx2.Request) -> httpx2.Response:
        """Nobody waits for the end of a session, and it may not last."""
        with suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError):
            answer = await self._send(request, b"", timeout=aiohttp.ClientTimeout(total=_FAREWELL_S))
            answer.release()
        return httpx2.Response(204, request=request)

    def count(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left <= 0:
            self.trouble = f"answered more than {ANSWER_BYTES >> 20} MiB and was stopped; ask for less at a time"
            raise httpx2.ReadError(self.trouble)


class _Body(httpx2.AsyncByteStream):
    def __init__(self, way: Way, answer: aiohttp.ClientResponse):
        self._way = way
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._answer.content.readany():
                self._way.count(data)
                yield data
        except (aiohttp.ClientError, OSError) as error:
            self._way.trouble = "closed the connection in the middle of its answer"
            raise httpx2.ReadError(self._way.trouble) from error

    async def aclose(self) -> None:
        content = self._answer.content
        if not content.at_eof() and not self._way.trouble:
            # The end of a stream comes right after its last event; then the connection can serve again.
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(_TAIL_S):
                    await content.readany()
        self._answer.close()  # after a complete body this does nothing: the connection is back in its pool


def _trouble(answer: aiohttp.ClientResponse, has_key: bool) -> str:
    """What is wrong with an answer, by its head; '' for nothing. Of a refusal the SDK is still to hear: it may
    only mean that the server speaks an older version."""
    status = answer.status
    if 300 <= status < 400:
        return f"redirects ({status}): set `url` to where it really is"
    if status in (401, 403):
        what = "does not take the key" if has_key else "wants a key"
        return f"{what} ({status}): put the right one as a secret and name it in `apiKeyRef`"
    if status == 429:
        return "has had too many calls (429); try again later"
    if status >= 500:
        return f"failed ({status}); its log may say more"
    if answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        return "compresses its answer, though it was asked not to"
    if status in (200, 201) and answer.content_type not in ("application/json", "text/event-stream"):
        return f"answered {answer.content_type[:80]}, which is not MCP: is `url` its MCP endpoint?"
    return ""


def _unanswered(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ForbiddenAddress):
        return "was not called: it is at an internal address; BROKER_UPSTREAM_ALLOW names those that may be called"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "was not called: its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        known = isinstance(number, int) and number > 0
        return f"could not be reached ({os.strerror(number) if known else error.os_error.strerror or 'no such host'})"
    if isinstance(error, TimeoutError):
        return "could not be reached (no answer in time)"
    if isinstance(error, ValueError):
        # The HTTP client repeats the address, or a header.
        return "cannot be called: check its `url` and key"
    return f"gave no proper answer ({type(error).__name__})"
