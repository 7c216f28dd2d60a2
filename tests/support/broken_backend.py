"""An LLM server that breaks the rules of HTTP, byte for byte as a test wants it.

``BrokenBackend(way)`` answers questions about its models properly, and every
other request by ``way``, which writes what it likes to the connection. It knows
whether the other side hung up, and how much it has taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable

from scripts.ports import free_port

HEAD = b"HTTP/1.1 200 OK\r\n"
JSON = b"Content-Type: application/json\r\n"
EVENTS = HEAD + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSED = HEAD + b"Content-Type: text/event-stream\r\n\r\n"


def answer(body: bytes, *headers: bytes, kind: bytes = JSON) -> bytes:
    """A whole answer; a length among ``headers`` takes the place of the true one."""
    length = b"" if any(h.lower().startswith(b"content-length") for h in headers) else b"Content-Length: %d\r\n" % len(body)
    return HEAD + kind + length + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(content: object) -> bytes:
    """One event of a chat stream: a text, or the whole payload."""
    if isinstance(content, str):
        content = {"choices": [{"index": 0, "delta": {"content": content}}]}
    return b"data: " + json.dumps(content).encode() + b"\n\n"


LAST = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Talk:
    """One request and the connection that it came on."""

    def __init__(self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.body = body
        self.taken = 0  # bytes that the other side's system has accepted, or ours holds for it
        self.go_on = asyncio.Event()  # set by the test, for a way that waits for it
        self._reader = reader
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Waits while the other side does not read. Raises ``ConnectionError`` once it is gone."""
        self._writer.write(data)
        self.taken += len(data)
        await self._writer.drain()

    async def hung_up(self) -> None:
        """Waits until the other side closes the connection."""
        while await self._reader.read(65536):
            pass

    async def told_to_go_on(self) -> None:
        """Waits for the test's word. Raises ``ConnectionError`` when the other side hangs up first."""
        waits = [asyncio.ensure_future(self.go_on.wait()), asyncio.ensure_future(self.hung_up())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if not self.go_on.is_set():
            raise ConnectionResetError

    def reset(self) -> None:
        self._writer.transport.abort()


Way = Callable[[Talk], Awaitable[None]]


class BrokenBackend:
    """``keeps``: the connection serves on after the way is done; else it is closed."""

    def __init__(self, way: Way, *, models: Way | None = None, keeps: bool = False, reads: bool = True) -> None:
        self.way = way
        self.models = models or _one_model
        self.asked: list[Talk] = []
        self.most_at_once = 0
        self._keeps = keeps
        self._reads = reads
        self._now = 0
        self._connected: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def busy(self) -> int:
        """Requests that are being answered."""
        return self._now

    async def __aenter__(self) -> BrokenBackend:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._connected):
            task.cancel()
        await asyncio.gather(*self._connected, return_exceptions=True)

    async def until(self, holds: Callable[[], bool], limit_s: float = 20.0) -> None:
        async with asyncio.timeout(limit_s), self._changed:
            await self._changed.wait_for(holds)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connected.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET "):
                    await self.models(Talk(head, b"", reader, writer))
                    continue
                await self._ask(head, reader, writer)
                if not self._keeps:
                    return
        except EOFError:
            pass  # it hung up
        except OSError:  # in the middle; the connection holds the same error, and complains if nobody asks for it
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._connected.discard(task)
            writer.close()

    async def _ask(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.readexactly(_length(head)) if self._reads else b""
        talk = Talk(head, body, reader, writer)
        self.asked.append(talk)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await self._tell()
        try:
            await self.way(talk)
        finally:
            self._now -= 1
            await asyncio.shield(self._tell())

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


# ── ways that many tests need ───────────────────────────────────────────────


def always(data: bytes) -> Way:
    """Writes those bytes, whatever was asked."""

    async def way(talk: Talk) -> None:
        await talk.write(data)

    return way


well = always(answer(b"{}"))
loading = always(b"HTTP/1.1 503 Loading\r\nContent-Length: 0\r\n\r\n")


async def two_words(talk: Talk) -> None:
    """A stream of two words; the second one waits for the test."""
    await talk.write(EVENTS + chunk(event("one")))
    await talk.told_to_go_on()
    await talk.write(chunk(event("two")) + LAST)


def nobody() -> str:
    """An address where nobody listens."""
    return f"http://127.0.0.1:{free_port()}/v1"


async def _one_model(talk: Talk) -> None:
    await talk.write(answer(b'{"object": "list", "data": [{"id": "real", "object": "model"}]}'))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0
