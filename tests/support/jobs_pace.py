"""How fast durable tasks are accepted and run, and what queued ones weigh: ``python -m tests.support.jobs_pace``.

Real processes: Redis and brokers. The clients and a publisher that answers at once are here, in one more process; of
the machine's cores all share what there is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

from tests.support.brokers import Replica
from tests.support.places import ServerPlace
from tests.support.processes import client, stage
from tests.support.provider import Provider
from tests.support.server import single_server

REQUEST = {"messages": [{"role": "user", "content": "x" * 438}], "model": "m"}


class Quick(Provider):
    """Answers whatever comes at once, many in one call."""

    async def answer_all(self) -> None:
        while True:
            frames = [await self.frames.get()]
            while not self.frames.empty() and len(frames) < 200:
                frames.append(self.frames.get_nowait())
            status, body, _ = await self.results(
                *({"taskId": frame["taskId"], "seq": 0, "status": 200, "body": {"ok": True}} for frame in frames if frame["kind"] == "infer")
            )
            assert status == 200, body


async def submit_all(brokers: list[Replica], count: int, at_once: int) -> float:
    """Tasks accepted in a second, over HTTP."""
    body = json.dumps({"model": "m", "request": REQUEST, "priority": "batch"}).encode()

    async def one(broker: Replica, number: int) -> None:
        for _ in range(number):
            async with broker.http.post(broker.url + "/api/v1/tasks", data=body) as answer:
                assert answer.status == 202, await answer.text()
                await answer.read()

    began = time.perf_counter()
    await asyncio.gather(*(one(brokers[n % len(brokers)], count // at_once) for n in range(at_once)))
    return count / (time.perf_counter() - began)


async def queued(place: ServerPlace) -> int:
    redis = place.redis()
    try:
        return int(await redis.get(f"rv:{{{place.namespace}}}:jobs-queued") or 0)
    finally:
        await redis.aclose()


async def memory(place: ServerPlace) -> int:
    redis = place.redis()
    try:
        return (await redis.info("memory"))["used_memory"]
    finally:
        await redis.aclose()


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Spent:
    """Processor time of each part, per task."""

    def __init__(self, **pids: int):
        self._pids = pids
        self._before = {name: cpu_s(pid) for name, pid in pids.items()}

    def told(self, count: int) -> str:
        each = {name: (cpu_s(pid) - self._before[name]) / count * 1e6 for name, pid in self._pids.items()}
        return ", ".join(f"{name} {us:,.0f} µs" for name, us in each.items())


async def pace(place: ServerPlace, made, replicas: int, count: int, slots: int, at_once: int) -> None:
    brokers = [await made.broker().ready() for _ in range(replicas)]
    apis = []
    async with client(brokers[0].url) as first:
        for broker in brokers:
            apis.append(Replica(None, broker.url, first.http))
        quick = Quick(apis[0], "m", slots=slots, connect=False)
        async with quick:
            pids = {f"broker {n}": one._popen.pid for n, one in enumerate(brokers)} | {"redis": place.server.pid, "clients": os.getpid()}
            before, spent = await memory(place), Spent(**pids)
            accepted = await submit_all(apis, count, at_once)
            each = (await memory(place) - before) / count
            print(f"accepted {accepted:,.0f}/s over HTTP at {replicas} replica(s); {each:,.0f} bytes each while queued; {spent.told(count)} each")
            spent = Spent(**pids)
            answering = asyncio.create_task(quick.answer_all())
            began = time.perf_counter()
            await quick.open()
            while await queued(place) or await _running(first):
                await asyncio.sleep(0.05)
            took = time.perf_counter() - began
            print(f"ran {count / took:,.0f}/s with {slots} slots at one publisher; {spent.told(count)} each")
            answering.cancel()


async def _running(api: Replica) -> bool:
    status, page, _ = await api.call("GET", "/api/v1/tasks?state=running&limit=1")
    assert status == 200
    return bool(page["data"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--clients", type=int, default=64)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, single_server(Path(folder)) as server:
        place = ServerPlace(server)
        with stage(Path(folder), place) as made:
            asyncio.run(pace(place, made, given.replicas, given.tasks, given.slots, given.clients))


if __name__ == "__main__":
    main()
