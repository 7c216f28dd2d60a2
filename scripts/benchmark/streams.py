"""The streaming load: N clients, each reading a stream to its end and asking for the next.

`python -m benchmark.streams '{"port": …, …}'`. Counts chunks by their `@`, takes
time to first token at the client and each chunk's delay from the clock it
carries. A stream falls behind when its last chunks come more than one token
time late; one that ends short of its chunks or without its last event is an error.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import uvloop

from benchmark.http1 import request
from benchmark.load import Run, percentile, window
from benchmark.shapes import LAST_WORDS, STAMP, request_body

_END = b"0\r\n\r\n"


class StreamRun(Run):
    """The window and what was counted in it, over all streams."""

    def __init__(self, tokens: int, delay_us: int, last_word: bytes) -> None:
        super().__init__()
        self.last_word = last_word
        self.tokens = tokens
        self.delay_us = delay_us
        self.chunks = 0
        self.first_token_s: list[float] = []
        self.delays_us: list[int] = []
        self.streams = 0
        self.behind = 0

    def finish(self, last_delays_us: list[int]) -> None:
        self.streams += 1
        if self.delay_us and last_delays_us and statistics.median(last_delays_us) > self.delay_us:
            self.behind += 1

    def summary(self, seconds: float) -> dict:
        first, delays = sorted(self.first_token_s), sorted(self.delays_us)
        return {
            "completed": self.chunks,
            "chunks_per_s": self.chunks / seconds,
            "streams": self.streams,
            "behind": self.behind,
            "ttft_p50_ms": percentile(first, 0.50) * 1e3,
            "ttft_p99_ms": percentile(first, 0.99) * 1e3,
            "delay_p50_ms": percentile(delays, 0.50) / 1e3,
            "delay_p99_ms": percentile(delays, 0.99) / 1e3,
            "errors": self.errors,
            "first_error": self.first_error,
        }


class Reader(asyncio.Protocol):
    """One connection, one stream after the other."""

    def __init__(self, run: StreamRun, request_bytes: bytes) -> None:
        self._run = run
        self._request = request_bytes
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._seen = 0
        self._headless = True
        self._begun = self._run.measuring
        self._last_delays_us: list[int] = []
        self._tail = b""
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        run = self._run
        if self._headless:
            self._headless = False
            if not data.startswith(b"HTTP/1.1 200"):
                run.note_error(data.decode(errors="replace"))
                self._refused = True
                self._transport.close()
                return
        count = data.count(b"@")
        if count:
            if run.measuring:
                run.chunks += count
                if not self._seen and self._begun:
                    run.first_token_s.append(time.perf_counter() - self._sent)
            self._seen += count
            if run.delay_us:
                self._take_delays(data)
        self._tail = (self._tail + data)[-64:]
        if self._tail.endswith(_END):
            self._end()

    def _take_delays(self, data: bytes) -> None:
        now_us = time.monotonic_ns() // 1000
        for stamp in STAMP.findall(data):
            delay_us = now_us - int(stamp)
            if self._run.measuring:
                self._run.delays_us.append(delay_us)
            if self._seen > self._run.tokens - 10:
                self._last_delays_us.append(delay_us)

    def _end(self) -> None:
        run = self._run
        if self._seen != run.tokens or run.last_word not in self._tail:
            run.note_error(f"a stream ended after {self._seen} of {run.tokens} chunks: {self._tail!r}")
        elif run.measuring:
            run.finish(self._last_delays_us)
        if not run.over:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._run.over and not self._refused:
            self._run.note_error(f"connection lost after {self._seen} chunks: {exc!r} {self._tail!r}")


async def drive(
    *, port: int, path: str, model: str, key: str, clients: int,
    tokens: int, delay_us: int, warm_s: float, seconds: float,
) -> dict:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = request_body(model, path, tokens=tokens, delay_us=delay_us)
    request_bytes = request("POST", path, f"127.0.0.1:{port}", body, headers)
    run, loop = StreamRun(tokens, delay_us, LAST_WORDS[path]), asyncio.get_running_loop()
    for _ in range(clients):
        await loop.create_connection(lambda: Reader(run, request_bytes), "127.0.0.1", port)
        if delay_us:
            # Spread over time as real clients are: in step, all would send in the same ms.
            await asyncio.sleep(tokens * delay_us / 1e6 / clients)
    return run.summary(await window(run, warm_s=warm_s, seconds=seconds))


if __name__ == "__main__":
    print(json.dumps(uvloop.run(drive(**json.loads(sys.argv[1])))), flush=True)
