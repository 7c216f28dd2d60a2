"""What a batch adds to the answers of interactive requests at the same LLM, on its slots.

    PYTHONPATH=. .venv/bin/python -m scripts.batch_cost [--lines 1000] [--rounds 10] [--slots 16] [--rate 40]
        [--latency 50] [--no-batch]

Starts Redis, a broker, a publisher and a backend that answers after a fixed time, each as a process of its own. Requests
come one by one at random times, at a rate that leaves most slots free, however long the answers take. Windows alternate:
without a batch, then while a batch of so many lines is run, from its creation to its end, then without one again, in all as
long. Short ones tell most, for other programs on the machine disturb both kinds alike then. Prints each window, who stood in
line in it, and what the batch does to the median and to the 99th percentile, round by round and in all. ``--no-batch`` does
the same without any batch: what the machine alone makes of the comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import aiohttp

from tests.support.batches import BATCHES, CHAT, FILES, lines_of
from tests.support.brokers import Replica
from tests.support.places import ServerPlace
from tests.support.processes import client, stage
from tests.support.server import single_server

MESSAGES = [{"role": "user", "content": "hello, and how are you today?"}]


class Interactive:
    """Requests that come at random times; ``waited`` has the milliseconds from when each was due until its answer, and
    ``stood_in_line`` says how many found no free slot."""

    def __init__(self, api: Replica, rate: float, seed: int):
        self._api = api
        self._rate = rate
        self._chance = random.Random(seed)
        self._body = json.dumps({"model": "m", "messages": MESSAGES}).encode()
        self._running: set[asyncio.Task] = set()
        self.waited: list[float] = []
        self.stood_in_line = 0

    async def until(self, over: Awaitable) -> list[float]:
        """Asks until that is over. Returns what was waited meanwhile."""
        self.waited, self.stood_in_line = [], 0
        end = asyncio.ensure_future(over)
        due = time.perf_counter()
        while not end.done():
            due += self._chance.expovariate(self._rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asking = asyncio.create_task(self._ask(due))
            self._running.add(asking)
            asking.add_done_callback(self._running.discard)
        await asyncio.gather(*self._running)
        await end
        return self.waited

    async def _ask(self, due: float) -> None:
        async with self._api.http.post(self._api.url + CHAT, data=self._body, headers={"Content-Type": "application/json"}) as answer:
            await answer.read()
            assert answer.status == 200, answer.status
            self.stood_in_line += "X-Queue-Position" in answer.headers
        self.waited.append((time.perf_counter() - due) * 1000)


async def upload(api: Replica, lines: int) -> str:
    form = aiohttp.FormData({"purpose": "batch"})
    text = "".join(
        json.dumps({"custom_id": f"c{number}", "method": "POST", "url": CHAT, "body": {"model": "m", "messages": MESSAGES}}) + "\n"
        for number in range(lines)
    )
    form.add_field("file", text.encode(), filename="lines.jsonl")
    async with api.http.post(api.url + FILES, data=form) as answer:
        return (await answer.json())["id"]


async def run_batch(api: Replica, file: str, lines: int) -> None:
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    _, batch, _ = await api.call("POST", BATCHES, asked)
    while batch["status"] != "completed":
        assert batch["status"] in ("validating", "in_progress", "finalizing"), batch
        await asyncio.sleep(0.25)
        _, batch, _ = await api.call("GET", f"{BATCHES}/{batch['id']}")
    found = await lines_of(api, batch["output_file_id"])
    assert len({one["custom_id"] for one in found}) == len(found) == lines


def shown(label: str, waited: list[float], stood_in_line: int, took_s: float) -> None:
    print(f"  {label:14} {took_s:5.1f} s, {len(waited):5} requests: median {statistics.median(waited):6.1f} ms, "
          f"p95 {of(waited, 95):6.1f} ms, p99 {of(waited, 99):6.1f} ms; {stood_in_line / len(waited):.1%} stood in line", flush=True)


def of(waited: list[float], percent: int) -> float:
    return statistics.quantiles(waited, n=100)[percent - 1]


def compared(label: str, beside: list[float], alone: list[float]) -> float:
    """What is added to the 99th percentile, in percent."""
    median, p99 = ((of(beside, percent) / of(alone, percent) - 1) * 100 for percent in (50, 99))
    print(f"{label}: the batch adds {median:+.1f} % to the median and {p99:+.1f} % to p99", flush=True)
    return p99


async def measure(given: argparse.Namespace, place: ServerPlace, made, folder: Path) -> None:
    broker, backend = await asyncio.gather(
        made.broker(files_dir=folder / "files", job_poll_seconds=0.5).ready(), made.backend(tokens=1, delay_s=given.latency / 1000).ready()
    )
    await made.publisher(broker.url, {"name": "m", "url": backend.url, "slots": given.slots}).ready()
    async with client(broker.url) as api:
        await api.until_status("m", "active")
        load = Interactive(api, given.rate, seed=7)
        file = await upload(api, given.lines)
        await load.until(asyncio.sleep(3))  # what is slow at first
        all_alone, all_beside, added = [], [], []
        for number in range(given.rounds):
            print(f"round {number + 1}", flush=True)

            async def window(label: str, over: Awaitable) -> tuple[list[float], float]:
                began = time.perf_counter()
                waited = await load.until(over)
                took_s = time.perf_counter() - began
                shown(label, waited, load.stood_in_line, took_s)
                return waited, took_s

            seconds = 2 * given.lines * given.latency / 1000 / given.slots
            before, waited_s = await window("alone", asyncio.sleep(seconds / 2))
            over = asyncio.sleep(seconds) if given.no_batch else run_batch(api, file, given.lines)
            beside, took_s = await window("with the batch", over)
            after, _ = await window("alone", asyncio.sleep(max(1.0, took_s - waited_s)))
            added.append(compared(f"round {number + 1}", beside, before + after))
            all_alone += before + after
            all_beside += beside
        compared("in all", all_beside, all_alone)
        print(f"to p99 in the median round: {statistics.median(added):+.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--rate", type=float, default=40, help="interactive requests in a second")
    parser.add_argument("--latency", type=float, default=50, help="milliseconds that the backend takes for an answer")
    parser.add_argument("--no-batch", action="store_true", help="how much the machine itself varies")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rv") as text, single_server(Path(text), "--save", "") as server:
        place = ServerPlace(server)
        with stage(Path(text), place) as made:
            asyncio.run(measure(given, place, made, Path(text)))


if __name__ == "__main__":
    main()
