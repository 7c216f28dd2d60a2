"""A fleet of publishers that do nothing: registered, channel open, alive.

`python -m benchmark.idlers '{"port": …, "count": …}'`. Prints `ready` when all
channels are open and every session has sent a heartbeat, `lost N` when the
broker closed some; then it stays until it is stopped.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from benchmark.http1 import Connection, request
from broker.wire import SESSION_HEADER

_AT_ONCE = 20
_API = "/api/v1/llms"


class Channel(asyncio.Protocol):
    """An open channel whose frames nobody reads."""

    lost = 0

    def __init__(self, request_bytes: bytes, opened: asyncio.Future) -> None:
        self._request = request_bytes
        self._opened = opened

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._opened.done():
            return
        if data.startswith(b"HTTP/1.1 200"):
            self._opened.set_result(None)
        else:
            self._opened.set_exception(RuntimeError(f"channel refused: {data[:300]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        Channel.lost += 1
        if not self._opened.done():
            self._opened.set_exception(RuntimeError(f"channel closed: {exc!r}"))


async def join(port: int, number: int) -> None:
    """Registers one publisher, opens its channel, beats once."""
    host, loop = f"127.0.0.1:{port}", asyncio.get_running_loop()
    calls = await Connection.to("127.0.0.1", port)
    body = json.dumps({"providers": [{"name": f"idle-{number:04}", "type": "openai", "model": "bench"}]}).encode()
    status, answer = await calls.call(request("POST", f"{_API}/_provider-register", host, body))
    if status != 201:
        raise RuntimeError(f"registration refused: {status} {answer[:300]!r}")
    session = json.loads(answer)["providerSessionId"]
    opened = loop.create_future()
    headers = {SESSION_HEADER: session}
    open_channel = request("GET", f"{_API}/_provider-stream", host, b"", headers)
    await loop.create_connection(lambda: Channel(open_channel, opened), "127.0.0.1", port)
    await opened
    body = json.dumps({"providerSessionId": session}).encode()
    status, answer = await calls.call(request("POST", f"{_API}/_provider-heartbeat", host, body, headers))
    if status != 200:
        raise RuntimeError(f"heartbeat refused: {status} {answer[:300]!r}")
    calls.close()


async def fleet(*, port: int, count: int) -> None:
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await join(port, number)

    await asyncio.gather(*(lane() for _ in range(_AT_ONCE)))
    print("ready", flush=True)
    while not Channel.lost:
        await asyncio.sleep(0.2)
    print(f"lost {Channel.lost}", flush=True)


if __name__ == "__main__":
    uvloop.run(fleet(**json.loads(sys.argv[1])))
