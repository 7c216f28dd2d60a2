"""Calls to one broker: JSON in and out, streams line by line, refusals as exceptions. It prints nothing.

Every call has a connection of its own: between two lines that a person types
nobody would notice that an older one was closed.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
LINE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Where:
    """Which broker, as whom, and how many seconds a call may take."""

    broker: str
    token: str | None
    timeout_s: float


class Misused(Exception):
    """The command cannot be meant like this."""


class Unreachable(Exception):
    """No broker answers there; the text says what to do."""


class Refused(Exception):
    """The broker's refusal, in its words."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status = status
        self.code = code


class Broken(Exception):
    """An answer that ended too early."""


class Api:
    """``async with Api(where) as api``."""

    def __init__(self, where: Where):
        self.broker = _checked(where.broker)
        self._timeout_s = where.timeout_s
        self._headers = {"Accept": "application/json, text/event-stream"}
        if where.token:
            if not where.token.isascii() or not where.token.isprintable():
                raise Misused("the token (--token, BROKER_TOKEN) has characters that no token has")
            self._headers["Authorization"] = f"Bearer {where.token}"
        self._proxy = _proxy(self.broker)

    async def __aenter__(self) -> Api:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), cookie_jar=aiohttp.DummyCookieJar(), headers=self._headers,
            read_bufsize=LINE_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def get(self, path: str, **query: str) -> object:
        """The JSON that answers. Raises Refused, Unreachable."""
        return await self.send("GET", path, query=query)

    async def send(
        self, method: str, path: str, body: object = None, *, query: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> object:
        """None for an answer without content. Raises Refused, Unreachable."""
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with self._asked(method, path, body, timeout, headers or {}, query or {}) as response:
            text = await response.read()
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise Unreachable(_no_broker(self.broker, response)) from None

    async def kept(self, path: str, status: int) -> tuple[str, bytes]:
        """(content type, body) of what is kept there and answered with that status, also where that is an LLM's refusal.
        Raises Refused, Unreachable, Broken."""
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with self._asked("GET", path, None, timeout, {}, {}, expected=status) as response:
            return response.content_type, await response.read()

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: object = None, *, silence_s: float | None = None, **headers: str
    ) -> AsyncIterator[Stream]:
        """An answer of server-sent events, which may take as long as it takes; after ``silence_s`` without a byte, comments
        included, its connection counts as broken. Raises Refused, Unreachable, Broken."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=silence_s)
        async with self._asked(method, path, body, timeout, headers, {}) as response:
            yield Stream(response)

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: object, timeout: aiohttp.ClientTimeout, headers: dict, query: dict, expected: int = 200,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = URL(self.broker + path, encoded=True).update_query(query) if query else URL(self.broker + path, encoded=True)
        begun = False
        try:
            async with self._http.request(
                method, url, data=None if body is None else json.dumps(body).encode(), timeout=timeout, proxy=self._proxy,
                headers={**headers, "Content-Type": "application/json"} if body is not None else headers, allow_redirects=False,
            ) as response:
                begun = True
                if response.status != expected and not 200 <= response.status < 300:
                    raise _refused(self.broker, response, await response.read())
                yield response
        except TimeoutError:
            if begun and timeout.sock_read:
                raise Broken(f"the answer of {self.broker} broke off: it says nothing any more") from None
            raise Unreachable(f"{self.broker} did not answer within {self._timeout_s:g} s; --timeout allows more") from None
        except (aiohttp.ClientError, OSError) as error:
            if begun:
                raise Broken(f"the answer of {self.broker} broke off: {_said(error)}") from None
            raise Unreachable(
                f"nothing answers at {self.broker} ({_said(error)}): start it with `broker up`, or name another with --broker or BROKER_URL"
            ) from None


class Stream:
    """Server-sent events as they come; comments are left out."""

    def __init__(self, response: aiohttp.ClientResponse):
        self.headers = response.headers
        self._response = response

    async def events(self) -> AsyncIterator[tuple[str, str, str]]:
        """(id, event, data) of each."""
        fields: dict[str, list[str]] = {}
        async for raw in self._response.content:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            if not line:
                if "data" in fields:
                    yield "".join(fields.get("id", ())), "".join(fields.get("event", ())), "\n".join(fields["data"])
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))


def segment(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise Misused('--broker (BROKER_URL) must be an address like "http://127.0.0.1:8080"')
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise Misused("--broker (BROKER_URL) must hold no user, no password and nothing after a ? or a #")
    return url.rstrip("/")


def _proxy(url: str) -> str | None:
    """As HTTPS_PROXY, HTTP_PROXY and NO_PROXY say; never to this machine itself."""
    parts = urlsplit(url)
    if parts.hostname in _LOOPBACK or proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)


def _refused(broker: str, response: aiohttp.ClientResponse, text: bytes) -> Exception:
    if 300 <= response.status < 400:
        return Unreachable(f"{broker} redirects to {response.headers.get('Location', '?')}: give that address")
    try:
        error = json.loads(text)["error"]
        message, code = str(error["message"]), str(error.get("code") or "")
    except (ValueError, KeyError, TypeError):
        return Unreachable(_no_broker(broker, response))
    if response.status == 401:
        message = "the broker wants a valid token: give --token or BROKER_TOKEN (`broker tokens create` makes one)"
    return Refused(response.status, code, message)


def _no_broker(broker: str, response: aiohttp.ClientResponse) -> str:
    return f"what answers at {broker} is no broker (HTTP {response.status}, {response.content_type}); name yours with --broker or BROKER_URL"


def _said(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return "its certificate is not trusted; SSL_CERT_FILE can name its authority"
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    text = os.strerror(error.errno) if isinstance(error, OSError) and (error.errno or 0) > 0 else str(error)
    return (text or type(error).__name__).replace("\n", " ")
