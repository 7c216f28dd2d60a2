"""One LLM server's address and key, and small JSON calls to it: what it is asked, what it is ordered.

A question has a short limit, and an answer of another shape than expected is no
answer. An order (load, sleep) may take as long as its caller lets it. It follows
no redirect, repeats nothing, and no secret of the address or the key is in its messages.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
import msgspec
from yarl import URL

from publisher.config.values import ConfigError
from publisher.failures import BackendBroken, BackendUnreachable, RecipeFailed, TaskFailed
from publisher.reason import reason

ANSWER_BYTES = 8 << 20
SAID_CHARS = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes

    @property
    def complaint(self) -> str:
        """What the server says is wrong, in its own words; empty when it has none. Some say it with a 200."""
        told = _json(self.body)
        error = told.get("error") or (told.get("detail") if self.status >= 300 else None)
        if isinstance(error, dict):
            error = error.get("message") or error.get("type")
        return error if isinstance(error, str) else ""

    @property
    def ok(self) -> bool:
        return self.status < 300 and not self.complaint


class Server:
    """``endings``: what people write after the server's root; the first that is there is taken off."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        api_key: str | None,
        check_timeout_s: float,
        endings: tuple[str, ...] = (),
    ) -> None:
        self._http = http
        self._api_key = api_key
        try:
            written = URL(url)
            self.url = str(_bare(written)).rstrip("/")
            self.host = written.host or ""
        except ValueError:
            raise ConfigError("the url of a backend must be an address, as http://127.0.0.1:8000/v1") from None
        # Uncompressed: it is one machine or one network, and a gzipped stream arrives in lumps.
        self.headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"
            written = written.with_user(None)  # a request carries one of the two
        path = written.raw_path.rstrip("/")
        path = next((path.removesuffix(end) for end in endings if path.endswith(end)), path)
        self._root = written.with_path(path, encoded=True)
        self._query = written.query
        self._question = aiohttp.ClientTimeout(total=check_timeout_s)
        self._order = aiohttp.ClientTimeout(total=None, sock_connect=check_timeout_s)

    def at(self, path: str, **query: str) -> URL:
        return self._root.joinpath(*path.split("/")).with_query({**self._query, **query})

    async def status(self, path: str) -> int:
        """Only whether and how it answers; the body is not read."""
        return (await self._call("GET", path, {}, None, self._question, body=False)).status

    async def healthy(self) -> bool:
        """What many servers answer beside their API, at ``/health`` of their address."""
        url = self._root.with_path("/health").with_query(self._query)
        try:
            async with self._http.get(url, headers=self.headers, timeout=self._question, allow_redirects=False) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError):
            return False

    async def get(self, path: str, **query: str) -> Reply:
        return await self._call("GET", path, query, None, self._question)

    async def ask(self, path: str, shape: type[T], **query: str) -> T:
        """A question whose answer is JSON of that shape. Raises ``BackendUnreachable`` or ``BackendBroken``."""
        reply = await self.get(path, **query)
        if reply.status != 200:
            raise BackendBroken(f"backend at {self.url} answered {reply.status} to GET /{path}{self.said(reply)}")
        try:
            return msgspec.json.decode(reply.body, type=shape)
        except (msgspec.MsgspecError, RecursionError):
            raise BackendBroken(
                f"backend at {self.url} answered GET /{path} with something else than expected: "
                f"check the provider's type and url{self.said(reply)}"
            ) from None

    async def order(self, path: str, body: object = None, **query: str) -> Reply:
        """Something that it shall do. Raises ``RecipeFailed`` when it gave no answer; the answer may be a refusal."""
        data = None if body is None else msgspec.json.encode(body)
        try:
            return await self._call("POST", path, query, data, self._order)
        except TaskFailed as err:
            raise RecipeFailed(str(err)) from None

    def said(self, reply: Reply) -> str:
        """The end of a message about a refusal: what the server said of it, or what to do."""
        if reply.status in (401, 403):
            return f": set the provider's apiKey to {'one that it accepts' if self._api_key else 'its key'}"
        text = re.sub(r"\s+", " ", reply.complaint).strip()[:SAID_CHARS]
        if self._api_key:
            text = text.replace(self._api_key, "…")
        return f": {text}" if text else ""

    def unreached(self, err: BaseException) -> TaskFailed:
        """What a call that got no answer comes down to; never with the whole address."""
        if isinstance(err, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return BackendUnreachable(f"backend at {self.url} refused the connection ({reason(err)})")
        if isinstance(err, ValueError):  # the HTTP client repeats the address, or a header
            return BackendBroken(f"backend at {self.url} cannot be called: check the provider's url and apiKey")
        return BackendBroken(f"backend at {self.url} gave no proper answer ({reason(err)})")

    async def _call(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        data: bytes | None,
        timeout: aiohttp.ClientTimeout,
        body: bool = True,
    ) -> Reply:
        headers = {**self.headers, "Accept": "application/json"}
        try:
            async with self._http.request(
                method, self.at(path, **query), headers=headers, data=data, timeout=timeout, allow_redirects=False
            ) as answer:
                return Reply(answer.status, await _whole(answer) if body else b"")
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as err:
            raise self.unreached(err) from None


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    while part := await answer.content.readany():
        parts.append(part)
        size += len(part)
        if size > ANSWER_BYTES:
            raise aiohttp.ClientPayloadError(f"its answer is larger than {ANSWER_BYTES >> 20} MiB")
    return b"".join(parts)


def _json(body: bytes) -> dict:
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _bare(url: URL) -> URL:
    return url.with_user(None).with_query(None).with_fragment(None)
