"""One run: a stage with two replicas, two publishers, a backend and Redis; load and havoc on it.

At the end everybody is well again: then every durable task must have ended, and nothing may be left of any request.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from pathlib import Path

from scripts.ports import free_ports
from tests.chaos import generations
from tests.chaos.havoc import Havoc
from tests.chaos.history import Asked, Death, History
from tests.chaos.load import AGENT, LONG_S, MODELS, POOL, Load
from tests.chaos.submitting import MOST_ATTEMPTS
from tests.support.agents import make_agent
from tests.support.balancer import balancer
from tests.support.hook_receiver import hook_receiver
from tests.support.jobs import check_kept_in_order
from tests.support.places import ServerPlace
from tests.support.pools import make_pool
from tests.support.processes import Process, Stage, client
from tests.support.public import HERE, make_llm
from tests.support.server import Server
from tests.support.waiting import BUSY_S

_LEASE_GRACE_S = 1.0
#: How soon everybody must be back; and when a publisher, just started, pauses for up to 30 s before it registers.
_BACK_S, _STARTED_BACK_S = 8.0 + BUSY_S, 35.0
_SETTINGS = {
    **HERE, "lease_grace_seconds": _LEASE_GRACE_S, "reconnect_grace_seconds": 5, "shutdown_seconds": 2, "resume_seconds": 10, "deadline_seconds": 30, "queue_wait_seconds": 30,
    "job_attempts": MOST_ATTEMPTS, "job_retry_seconds": 0.1, "job_poll_seconds": 0.1, "webhook_retry_seconds": 0.1,
    "webhook_allow": "127.0.0.0/8",
}
_LEFT = re.compile(rb"(task|leases|waiting|asked|wake|followers|queue|queue-tags):|session-tasks:|hooks$")


async def chaos(
    stage: Stage, redis: Server, place: ServerPlace, *, seconds: float, clients: int, seed: int
) -> tuple[History, list[str]]:
    """The history, and what is wrong with it."""
    dice, history = random.Random(seed), History()
    ports = free_ports(2)
    replicas = [stage.broker(port=port, **_SETTINGS) for port in ports]
    backend = stage.backend(numbered=True)
    await asyncio.gather(*(one.ready() for one in (*replicas, backend)))
    urls = [one.url for one in replicas]
    async with balancer(*urls) as front, balancer(*reversed(urls)) as back, hook_receiver(lambda: dice.random() > 0.2) as hook, client(urls[0]) as api:
        publishers = {"a": _publisher(stage, front, "a", backend), "b": _publisher(stage, back, "b", backend)}
        await asyncio.gather(*(one.ready() for one in publishers.values()))
        await make_llm(api, "p", backend.url, slots=4)
        await make_pool(api, POOL, *MODELS)
        await make_agent(api, AGENT.removeprefix("agent/"), MODELS[0])
        load = Load(urls, history, hook, dice)
        asking = asyncio.create_task(load.run(clients))
        await Havoc(replicas, publishers, redis, history, dice).run(seconds)
        load.stop()
        await asking
        registered = all("registered at" in one.log() for one in publishers.values())
        wrong = await _back_to_normal(urls, within_s=_BACK_S if registered else _STARTED_BACK_S)
        await load.submitting.all_told(within_s=70)
        wrong += await load.submitting.violations()
        wrong += generations.violations(history, load.submitting.tasks, await generations.generations(backend), urls)
        wrong += await _left_over(place, within_s=LONG_S + _LEASE_GRACE_S + 3)
        try:
            await check_kept_in_order(place)
        except AssertionError as error:
            wrong.append(f"durable tasks are not in order: {error}")
    history.tasks = len(load.submitting.tasks)
    return history, history.violations() + wrong


def _publisher(stage: Stage, url: str, name: str, backend: Process) -> Process:
    return stage.publisher(url, {"name": name, "url": backend.url, "slots": 4}, drain_s=1)


async def _back_to_normal(urls: list[str], within_s: float) -> list[str]:
    """Every replica must reach everybody again."""
    until = time.monotonic() + within_s
    wrong = []
    for url in urls:
        async with client(url) as api:
            for name in (*MODELS, POOL):
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
        f"{history.tasks} durable tasks",
        f"{len(history.deaths)} deaths: " + ", ".join(f"{n} × {deed}" for deed, n in sorted(history.deeds().items())),
    ]
    lines += [f"WRONG: {what}" for what in wrong[:30]] or ["nothing is wrong with any of them"]
    if wrong:
        (folder / "history.txt").write_text("\n".join(map(str, sorted([*history.asked, *history.deaths], key=_when))))
        lines.append(f"{len(wrong)} in all; history.txt and the processes' logs are in {folder}")
    return "\n".join(lines)


def _when(one: Asked | Death) -> float:
    return one.at if isinstance(one, Death) else one.began_at
