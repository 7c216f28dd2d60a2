"""The mock backend: an OpenAI-compatible server that costs next to nothing.

`python -m benchmark.mock PORT`. A plain request gets one fixed answer, a stream
as many chunks at the pace its prompt asks for, each chunk in a write of its own.
Never slower than what it measures: a raw protocol on uvloop, no framework.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from benchmark.http1 import content_length
from benchmark.shapes import ANSWER, LAST_EVENTS, chunk_event, wishes

_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
PLAIN = _JSON_HEAD % len(ANSWER) + ANSWER
_MODELS_BODY = b'{"object":"list","data":[{"id":"bench","object":"model","created":1700000000,"owned_by":"bench"}]}'
_MODELS = _JSON_HEAD % len(_MODELS_BODY) + _MODELS_BODY
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def chunked(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


_STREAM_END = chunked(LAST_EVENTS) + b"0\r\n\r\n"


class Backend(asyncio.Protocol):
    """One client connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = b""
        self._gone = False
        self._paused = False
        self._left = 0
        self._delay_s = 0.0
        self._due = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._left and not self._delay_s:
            self._send_chunk()

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        while data:
            head_end = data.find(b"\r\n\r\n")
            if head_end < 0:
                break
            total = head_end + 4 + (content_length(data[: head_end + 2]) or 0)
            if len(data) < total:
                break
            self._answer(data[:4], data[head_end + 4 : total])
            data = data[total:]
        self._buffer = data

    def _answer(self, method: bytes, body: bytes) -> None:
        if method == b"GET ":
            self._transport.write(_MODELS)
        elif b'"stream":true' in body or b'"stream": true' in body:
            self._left, delay_us = wishes(body)
            self._delay_s = delay_us / 1e6
            self._due = self._loop.time()
            self._transport.write(_STREAM_HEAD)
            self._send_chunk()
        else:
            self._transport.write(PLAIN)

    def _send_chunk(self) -> None:
        if self._gone or (self._paused and not self._delay_s):
            return
        self._transport.write(chunked(chunk_event()))
        self._left -= 1
        if not self._left:
            self._transport.write(_STREAM_END)
        elif self._delay_s:
            # The schedule is absolute: one late chunk must not delay all that follow.
            self._due += self._delay_s
            self._loop.call_at(self._due, self._send_chunk)
        else:
            # One chunk per turn of the loop, or uvloop would join them in one write.
            self._loop.call_soon(self._send_chunk)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Backend(loop), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
