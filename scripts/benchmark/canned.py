"""A publisher that answers at once, without any backend: it shows the broker's own ceiling.

`python -m benchmark.canned '{"port": …, "name": …, "slots": …}'`. It speaks the
published protocol with as little CPU as Python allows: registers, holds the
channel, beats; what it answers is in `canned_answers`. It must not be cleverer
towards the broker than a real publisher: same frames, same batching.
"""

from __future__ import annotations

import asyncio
import json
import sys

import msgspec
import uvloop

from benchmark.canned_answers import Answers
from benchmark.http1 import Connection, Dechunker, request
from broker.wire import INSTANCE_HEADER, SESSION_HEADER, Frame

_HEARTBEAT_S = 20.0


class Channel(asyncio.Protocol):
    """The broker's channel: SSE in, frames out."""

    def __init__(self, request_bytes: bytes, answers: Answers, gone: asyncio.Future) -> None:
        self._request = request_bytes
        self._answers = answers
        self._gone = gone
        self._buffer = b""
        self._dechunk: Dechunker | None = None
        self._decode = msgspec.json.Decoder(Frame).decode

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._dechunk is None:
            head, found, data = (self._buffer + data).partition(b"\r\n\r\n")
            self._buffer = b"" if found else head
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the channel was refused: {head[:300]!r} {data[:300]!r}")
            self._dechunk = Dechunker()
        lines = (self._buffer + self._dechunk.feed(data)).split(b"\n")
        self._buffer = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                self._answers.take(self._decode(line[5:]))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(f"the channel was closed: {exc!r}")


async def beat(port: int, path: str, session: str, headers: dict[str, str]) -> None:
    connection = await Connection.to("127.0.0.1", port)
    body = json.dumps({"providerSessionId": session}).encode()
    while True:
        await asyncio.sleep(_HEARTBEAT_S)
        await connection.call(request("POST", path, f"127.0.0.1:{port}", body, headers))


async def publish(*, port: int, name: str, slots: int) -> None:
    host = f"127.0.0.1:{port}"
    connection = await Connection.to("127.0.0.1", port)
    entry = {"name": name, "type": "openai", "model": "bench", "slots": slots}
    body = json.dumps({"replace": True, "providers": [entry]}).encode()
    instance = {INSTANCE_HEADER: f"bench-{name}"}
    status, answer = await connection.call(request("POST", "/api/v1/llms/_provider-register", host, body, instance))
    if status != 201:
        raise SystemExit(f"registration refused: {status} {answer[:300]!r}")
    session = json.loads(answer)["providerSessionId"]
    headers = {**instance, SESSION_HEADER: session}
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[str] = loop.create_future()
    answers = Answers(connection, port, headers)
    open_channel = request("GET", "/api/v1/llms/_provider-stream", host, b"", headers)
    await loop.create_connection(lambda: Channel(open_channel, answers, gone), "127.0.0.1", port)
    work = asyncio.gather(answers.upload(), beat(port, "/api/v1/llms/_provider-heartbeat", session, headers))
    done, _ = await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    raise SystemExit(str(gone.result() if gone in done else work.exception()))


if __name__ == "__main__":
    uvloop.run(publish(**json.loads(sys.argv[1])))
