"""Just enough HTTP/1.1 for the bench's own programs, over raw asyncio protocols.

A general client costs more CPU per call than some of what is measured here, and
it would run on the load's core. Only what the bench's peers send is understood:
answers with a Content-Length or chunked, one request at a time per connection.
"""

from __future__ import annotations

import asyncio


def head(method: str, path: str, host: str, headers: dict[str, str] | None = None, *,
         content_type: str = "application/json") -> bytes:
    """A request's head up to the value of its Content-Length, for bodies that vary."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines.append("Content-Length: ")
    return "\r\n".join(lines).encode()


def request(method: str, path: str, host: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """The bytes of one request, ready to be written again and again."""
    return head(method, path, host, headers) + b"%d\r\n\r\n" % len(body) + body


def content_length(head: bytes) -> int | None:
    """The Content-Length in a head, None when there is none."""
    head = head.lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return None
    end = head.find(b"\r\n", at + 2)
    return int(head[at + 17 : end if end >= 0 else len(head)])


def answer_length(buffer: bytes) -> int | None:
    """How many bytes the answer at the start of the buffer takes, None while it is incomplete."""
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    length = content_length(buffer[: head_end + 2])
    if length is not None:
        total = head_end + 4 + length
        return total if len(buffer) >= total else None
    # Chunked. The bodies here are JSON or SSE and never hold a CR, so the last
    # chunk cannot be mistaken for anything else.
    end = buffer.find(b"\r\n0\r\n\r\n", head_end + 2)
    return end + 7 if end >= 0 else None


def body_of(answer: bytes) -> bytes:
    """The body of a complete answer."""
    head_end = answer.find(b"\r\n\r\n")
    if content_length(answer[: head_end + 2]) is not None:
        return answer[head_end + 4 :]
    return Dechunker().feed(answer[head_end + 4 :])


class Dechunker:
    """Takes the chunked coding off a byte stream, in whatever pieces it arrives."""

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0  # bytes of the current chunk that are still to come, its CRLF included

    def feed(self, data: bytes) -> bytes:
        data, self._rest = self._rest + data, b""
        out, at = [], 0
        while at < len(data):
            if self._left == 0:
                line_end = data.find(b"\r\n", at)
                if line_end < 0:
                    self._rest = data[at:]
                    break
                self._left = int(data[at:line_end].split(b";")[0], 16) + 2
                at = line_end + 2
            piece = data[at : at + self._left]
            payload = self._left - 2
            if payload > 0:
                out.append(piece[:payload])
            at += len(piece)
            self._left -= len(piece)
        return b"".join(out)


class Connection(asyncio.Protocol):
    """One keep-alive connection that makes one call at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._waiter: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def to(cls, host: str, port: int) -> "Connection":
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    async def call(self, request_bytes: bytes) -> tuple[int, bytes]:
        """Sends one request; the answer's status and body."""
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request_bytes)
        answer = await self._waiter
        return int(answer[9:12]), body_of(answer)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        length = answer_length(self._buffer)
        if length is not None and self._waiter and not self._waiter.done():
            answer, self._buffer = self._buffer[:length], self._buffer[length:]
            self._waiter.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("the server closed the connection"))

    def close(self) -> None:
        self._transport.close()
