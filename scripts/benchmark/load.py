"""The closed-loop load: N clients, each sending its next request when it has its answer.

`python -m benchmark.load '{"port": …, …}'`. Prints `begin` and `end` round the
measured window (the bench reads the CPU clocks there) and then one line of JSON.
Never retries silently: what is not a 200 is counted and shown.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from benchmark.http1 import answer_length, request
from benchmark.shapes import request_body


class Run:
    """What all clients share: the window and what was counted in it."""

    def __init__(self) -> None:
        self.measuring = False
        self.over = False
        self.latencies: list[float] = []
        self.errors = 0
        self.first_error = ""

    def note_error(self, text: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or text[:300]

    def summary(self, seconds: float) -> dict:
        ordered = sorted(self.latencies)
        return {
            "completed": len(ordered),
            "rps": len(ordered) / seconds,
            "p50_ms": percentile(ordered, 0.50) * 1e3,
            "p99_ms": percentile(ordered, 0.99) * 1e3,
            "errors": self.errors,
            "first_error": self.first_error,
        }


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


class Client(asyncio.Protocol):
    """One connection in the closed loop."""

    def __init__(self, run: Run, request_bytes: bytes, port: int) -> None:
        self._run = run
        self._request = request_bytes
        self._port = port
        self._buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        length = answer_length(data)
        if length is None:
            self._buffer = data
            return
        run, self._buffer = self._run, b""
        if not data.startswith(b"HTTP/1.1 200"):
            run.note_error(data.decode(errors="replace"))
        elif run.measuring:
            run.latencies.append(time.perf_counter() - self._sent)
        if not run.over:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._run.over:
            self._run.note_error(f"connection lost: {exc!r}")
            asyncio.get_running_loop().create_task(connect(self._run, self._request, self._port))


async def connect(run: Run, request_bytes: bytes, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: Client(run, request_bytes, port), "127.0.0.1", port)


async def window(run: Run, *, warm_s: float, seconds: float) -> float:
    """Lets the load run; the length of the measured window."""
    await asyncio.sleep(warm_s)
    print("begin", flush=True)
    run.measuring, began = True, time.perf_counter()
    await asyncio.sleep(seconds)
    run.measuring, ended = False, time.perf_counter()
    print("end", flush=True)
    run.over = True
    return ended - began


async def drive(*, port: int, path: str, model: str, key: str, clients: int, warm_s: float, seconds: float) -> dict:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request_bytes = request("POST", path, f"127.0.0.1:{port}", request_body(model, path), headers)
    run = Run()
    for _ in range(clients):
        await connect(run, request_bytes, port)
    return run.summary(await window(run, warm_s=warm_s, seconds=seconds))


if __name__ == "__main__":
    print(json.dumps(uvloop.run(drive(**json.loads(sys.argv[1])))), flush=True)
