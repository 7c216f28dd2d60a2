"""The publisher's calls to its broker, one method per call of the protocol.

It says how a call ended in two words: ``Refused`` (the broker said no, with its
reason) and ``Unavailable`` (worth another try). It never retries by itself and
never sends the token anywhere but to the broker's own address.
"""

from __future__ import annotations

import asyncio
import time

import aiohttp
import msgspec
from yarl import URL

from broker.wire import INSTANCE_HEADER, SESSION_HEADER, Registered, Registration, ResultsAnswer
from publisher.body import sendable
from publisher.link.session import SESSION
from publisher.reason import reason

ROOT = "/api/v1/llms/"
CONNECT_S = 10.0
ANSWER_BYTES = 16 << 20
REQUEST_BYTES = 256 << 20  # more than any broker takes from a client
EVENTS = "text/event-stream"
UNREADABLE = (ValueError, RecursionError)  # what msgspec raises for bytes that are no such JSON, or no text


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unavailable(Exception):
    pass


class Dropped(Unavailable):
    """The connection was closed before a word of the answer: often one that something on the way had given up."""


class TooSlow(Unavailable):
    """It did not get through in its time: less at once may."""


class Broker:
    def __init__(
        self, http: aiohttp.ClientSession, url: str, token: str | None, instance: str, timeout_s: float,
        slowest_bytes_s: float = 8 << 10,
    ) -> None:
        self.url = url.rstrip("/")
        self.session: str | None = None
        self._http = http
        self._headers = {INSTANCE_HEADER: instance, "User-Agent": "reveille-publisher"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s
        self._slowest_bytes_s = slowest_bytes_s
        self._timeout = self._within(timeout_s)
        self._results_url = URL(self.url + ROOT + "_provider-results")
        self._results = msgspec.json.Decoder(ResultsAnswer)

    async def register(self, registration: Registration) -> Registered:
        body = await self._post("_provider-register", registration)
        try:
            registered = msgspec.json.decode(body, type=Registered)
            usable = SESSION.fullmatch(registered.provider_session_id)
        except UNREADABLE:
            usable = None
        if not usable:
            raise Refused(200, f"{self.url} does not answer like a Reveille broker: check the address")
        self.session = registered.provider_session_id
        self._headers[SESSION_HEADER] = self.session
        return registered

    def forget_session(self) -> None:
        self.session = None
        self._headers.pop(SESSION_HEADER, None)

    async def heartbeat(self) -> None:
        await self._post("_provider-heartbeat", {"providerSessionId": self.session})

    async def status(self, llm_name: str, status: str) -> None:
        await self._post(
            "_provider-status", {"providerSessionId": self.session, "llmName": llm_name, "status": status}
        )

    async def goodbye(self) -> None:
        await self._post("_provider-goodbye", {"providerSessionId": self.session})

    async def results(self, lines: bytes) -> ResultsAnswer:
        # How far a body has come cannot be seen: the system takes in megabytes at once, and a read
        # timeout does not run meanwhile. So it has time for its size, as much as the broker gives it.
        timeout = self._within(self._timeout_s + len(lines) / self._slowest_bytes_s)
        began = time.monotonic()
        try:
            body = await self._call("POST", self._results_url, lines, "application/x-ndjson", timeout)
        except Unavailable as err:
            if time.monotonic() - began >= self._timeout_s:  # whoever on the way lost patience
                raise TooSlow(str(err)) from None
            raise
        try:
            return self._results.decode(body)
        except UNREADABLE:
            raise Unavailable("an unreadable answer to results") from None

    async def request_body(self, path: str) -> bytes:
        """A request that was too large for its frame; ``path`` is below the broker's address."""
        if not path.startswith("/") or path.startswith("//"):
            raise Refused(400, "the broker named an address that is not its own")
        # No limit to the whole, which may be large: its bytes must keep coming.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=self._timeout_s)
        return await self._call("GET", URL(self.url + path, encoded=True), timeout=timeout, most_bytes=REQUEST_BYTES)

    async def channel(self, silence_s: float) -> aiohttp.ClientResponse:
        """The open channel; the caller closes it. Silence longer than this breaks it."""
        try:
            answer = await self._http.get(
                URL(self.url + ROOT + "_provider-stream"),
                headers={**self._headers, "Accept": "text/event-stream", "Cache-Control": "no-store"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as err:
            raise Unavailable(reason(err)) from None
        if answer.status == 200 and answer.content_type == EVENTS:
            return answer
        try:
            if answer.status == 200:  # perhaps a page of something on the way, and gone soon
                raise Unavailable("the broker's address does not answer like a Reveille broker")
            async with asyncio.timeout(self._timeout_s):
                raise _refusal(answer, await _whole(answer, ANSWER_BYTES))
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as err:
            raise Unavailable(reason(err)) from None
        finally:
            answer.close()

    async def _post(self, call: str, payload: object) -> bytes:
        url, body = URL(self.url + ROOT + call), msgspec.json.encode(payload)
        try:
            return await self._call("POST", url, body, "application/json")
        except Dropped:  # saying any of these twice does no harm
            return await self._call("POST", url, body, "application/json")

    @staticmethod
    def _within(timeout_s: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))

    async def _call(
        self, method: str, url: URL, data: bytes | None = None, content_type: str | None = None,
        timeout: aiohttp.ClientTimeout | None = None, most_bytes: int = ANSWER_BYTES,
    ) -> bytes:
        headers = {**self._headers, "Content-Type": content_type} if content_type else self._headers
        try:
            async with self._http.request(
                method, url, data=sendable(data), headers=headers, timeout=timeout or self._timeout,
                allow_redirects=False,
            ) as answer:
                body = await _whole(answer, most_bytes)
                if 200 <= answer.status < 300:
                    return body
                raise _refusal(answer, body)
        except aiohttp.ServerDisconnectedError as err:
            raise Dropped(reason(err)) from None
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as err:
            raise Unavailable(reason(err)) from None
        except ValueError:  # its text may quote a header, and so the token
            raise Refused(0, "the broker cannot be called: check its address and the token") from None


async def _whole(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    parts, size = [], 0
    while part := await answer.content.readany():
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            raise aiohttp.ClientPayloadError(f"its answer is larger than {most_bytes >> 20} MiB")
    return b"".join(parts)


def _refusal(answer: aiohttp.ClientResponse, body: bytes) -> Exception:
    status = answer.status
    if status == 407:
        return Refused(status, "the proxy wants a name and a password: write them into its address")
    if 300 <= status < 400:
        return Refused(status, f"the broker's address redirects to {_shown(answer.headers.get('Location', ''))}: use that one")
    try:
        error = msgspec.json.decode(body)["error"]
        message, code = str(error["message"]), str(error.get("code") or "")
    except (*UNREADABLE, KeyError, TypeError, AttributeError):
        message, code = f"HTTP {status} without a reason", ""
    if status == 408:
        return TooSlow(f"{message} (HTTP {status})")
    if status >= 500 or status in (425, 429):
        return Unavailable(f"{message} (HTTP {status})")
    return Refused(status, message, code)


def _shown(location: str) -> str:
    """Where a redirect leads, without what may be secret in it."""
    try:
        return str(URL(location).with_user(None).with_query(None).with_fragment(None)) or "nowhere"
    except ValueError:
        return "an address that is none"
