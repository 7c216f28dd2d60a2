"""How much later an LLM's server has the request of a turn on a long thread than that of a plain call.

`python -m benchmark.turns '{"port": …, "messages": …, "calls": …, "name": …}'`. It is the client and the LLM's server in one, so
that one clock tells when a request left and when it was there whole. The thread grows by turns, as any thread does.
Prints `turns`, `plain` and `end` between its two series (the bench reads the CPU clocks there), then a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import uvloop

from benchmark.http1 import Connection, content_length, request
from benchmark.mock import PLAIN
from benchmark.shapes import CHAT, PROMPT


class Server(asyncio.Protocol):
    """The LLM's server; `arrivals` gets the clock at the last byte of each request."""

    def __init__(self, arrivals: list[float]) -> None:
        self._arrivals = arrivals
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0 or len(self._buffer) < head_end + 4 + (content_length(bytes(self._buffer[: head_end + 2])) or 0):
            return
        self._arrivals.append(time.perf_counter())
        self._buffer.clear()
        self._transport.write(PLAIN)


class Caller:
    """Calls the broker, one call at a time."""

    def __init__(self, connection: Connection, host: str, arrivals: list[float]) -> None:
        self._connection = connection
        self._host = host
        self._arrivals = arrivals

    async def post(self, path: str, body: dict, *, status: int) -> dict:
        got, answer = await self._connection.call(request("POST", path, self._host, json.dumps(body).encode()))
        if got != status:
            raise SystemExit(f"POST {path} was answered {got}: {answer[:300]!r}")
        return json.loads(answer)

    async def until_there(self, path: str, body: dict) -> float:
        """Seconds from the call's leaving until the LLM's server had all of it."""
        self._arrivals.clear()
        sent = time.perf_counter()
        await self.post(path, body, status=200)
        return self._arrivals[-1] - sent


async def measure(*, port: int, name: str, messages: int, calls: int) -> dict:
    arrivals: list[float] = []
    llm = await asyncio.get_running_loop().create_server(lambda: Server(arrivals), "127.0.0.1", 0)
    caller = Caller(await Connection.to("127.0.0.1", port), f"127.0.0.1:{port}", arrivals)
    url = f"http://127.0.0.1:{llm.sockets[0].getsockname()[1]}/v1"
    await caller.post("/api/v1/llms", {"name": name, "model": "bench", "url": url}, status=201)
    await caller.post("/api/v1/agents", {"name": name, "llm": name}, status=201)
    thread = (await caller.post(f"/api/v1/agents/{name}/threads", {}, status=201))["id"]
    turn = (f"/api/v1/threads/{thread}/turns", {"content": PROMPT})
    plain = (CHAT, {"model": name, "messages": [{"role": "user", "content": PROMPT}]})
    for _ in range(messages // 2):
        await caller.post(*turn, status=200)
    medians_ms = []
    for word, asked in (("turns", turn), ("plain", plain)):
        print(word, flush=True)
        medians_ms.append(statistics.median([await caller.until_there(*asked) for _ in range(calls)]) * 1e3)
    print("end", flush=True)
    turn_ms, plain_ms = medians_ms
    return {"messages": messages, "turn_ms": turn_ms, "plain_ms": plain_ms, "added_ms": turn_ms - plain_ms}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(**json.loads(sys.argv[1])))), flush=True)
