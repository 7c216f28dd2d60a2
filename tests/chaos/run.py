"""One run: a stage with two replicas, two publishers, a backend and Redis; load and havoc on it.

At the end everybody is well again, and then nothing may be left of any request.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from pathlib import Path

from tests.chaos.havoc import Havoc
from tests.chaos.history import History
from tests.chaos.load import DEADLINE_S, Load
from tests.support.backend_seen import seen
from tests.support.balancer import balancer
from tests.support.places import ServerPlace
from tests.support.processes import Process, Stage, client
from tests.support.server import Server, free_ports

_LEASE_GRACE_S = 1.0
_SETTINGS = {"lease_grace_seconds": _LEASE_GRACE_S, "reconnect_grace_seconds": 1, "shutdown_seconds": 2}
_LEFT = re.compile(rb"(task|leases|waiting|asked|wake):|session-tasks:")


async def chaos(
    stage: Stage, redis: Server, place: ServerPlace, *, seconds: float, clients: int, seed: int
) -> tuple[History, list[str]]:
    """The history, and what is wrong with it."""
    dice, history = random.Random(seed), History()
    ports = free_ports(2)
    replicas = [stage.broker(port=port, **_SETTINGS) for port in ports]
    backend = stage.backend()
    await asyncio.gather(*(one.ready() for one in (*replicas, backend)))
    urls = [one.url for one in replicas]
    async with balancer(*urls) as front, balancer(*reversed(urls)) as back:
        publishers = [_publisher(stage, front, "a", backend), _publisher(stage, back, "b", backend)]
        await asyncio.gather(*(one.ready() for one in publishers))
        load = Load(urls, ["a", "b"], history, dice)
        asking = asyncio.create_task(load.run(clients))
        await Havoc(replicas, publishers, redis, history, dice).run(seconds)
        load.stop()
        await asking
        wrong = history.violations(await _runs(backend))
        wrong += await _back_to_normal(urls)
        wrong += await _left_over(place, within_s=DEADLINE_S + _LEASE_GRACE_S + 3)
    return history, wrong


def _publisher(stage: Stage, url: str, name: str, backend: Process) -> Process:
    return stage.publisher(url, {"name": name, "url": backend.url, "slots": 4}, drain_s=1)


async def _runs(backend: Process) -> Counter:
    return Counter(
        found.group(1) for one in await seen(backend) if (found := re.search(r'"words": ?"([^"]+)"', one["body"]))
    )


async def _back_to_normal(urls: list[str], within_s: float = 8.0) -> list[str]:
    """Every replica must reach every publisher again."""
    until = time.monotonic() + within_s
    wrong = []
    for url in urls:
        async with client(url) as api:
            for name in ("a", "b"):
                status, answer, _ = await api.chat(name)
                while status != 200 and time.monotonic() < until:
                    await asyncio.sleep(0.1)
                    status, answer, _ = await api.chat(name)
                if status != 200:
                    wrong.append(f"{name} is not back at {url} after {within_s:g} s: {answer}")
    return wrong


async def _left_over(place: ServerPlace, within_s: float) -> list[str]:
    """Tasks, leases, waiters that nobody will end."""
    until = time.monotonic() + within_s
    while left := [key for key in await place.keys() if _LEFT.match(key)]:
        # A stream of a session's tasks may stay, but empty.
        left = [key for key in left if not key.startswith(b"session-tasks:") or await place.read(key.decode())]
        if not left or time.monotonic() > until:
            break
        await asyncio.sleep(0.2)
    return [f"left in Redis: {key.decode()} = {await place.read(key.decode())}" for key in left]


def report(history: History, wrong: list[str], folder: Path) -> str:
    lines = [
        f"{len(history.asked)} requests: " + ", ".join(f"{n} {how}" for how, n in sorted(history.counts().items())),
        "deaths: " + ", ".join(f"{n} × {deed}" for deed, n in sorted(history.deaths.items())),
    ]
    lines += [f"WRONG: {what}" for what in wrong[:30]] or ["nothing is wrong with any of them"]
    if wrong:
        lines.append(f"{len(wrong)} in all; the processes' logs are in {folder}")
    return "\n".join(lines)
