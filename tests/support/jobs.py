"""Durable tasks of a test: submitted, followed, and what may be left of them in Redis."""

from __future__ import annotations

import asyncio
import json
import re

import aiohttp

from tests.support.brokers import Replica
from tests.support.places import Place
from tests.support.waiting import eventually

TASKS = "/api/v1/tasks"
#: Settings that make attempts follow one another quickly.
SOON = {"job_retry_seconds": 0.02, "job_poll_seconds": 0.05}


async def submit(broker: Replica, model: str = "m", *, headers: dict | None = None, request: dict | None = None, **more) -> dict:
    """The accepted task."""
    body = {"model": model, "request": {"messages": [], **(request or {})}, **more}
    status, task, _ = await broker.call("POST", TASKS, body, headers=headers)
    assert status == 202, task
    return task


async def task(broker: Replica, name: str, headers: dict | None = None) -> dict:
    status, found, _ = await broker.call("GET", f"{TASKS}/{name}", headers=headers)
    assert status == 200, found
    return found


async def until(broker: Replica, name: str, *states: str, limit_s: float = 20.0) -> dict:
    """The task once it is in one of those states."""

    async def there() -> dict | None:
        found = await task(broker, name)
        return found if found["state"] in states else None

    return await eventually(there, limit_s)


async def result(broker: Replica, name: str, headers: dict | None = None) -> tuple[int, bytes, dict]:
    async with broker.http.get(f"{broker.url}{TASKS}/{name}/result", headers=headers) as response:
        return response.status, await response.read(), response.headers


def events_url(broker: Replica, name: str) -> str:
    return f"{broker.url}{TASKS}/{name}/events"


async def events(broker: Replica, name: str, after: str = "", headers: dict | None = None) -> list[tuple[str, str, bytes]]:
    """(id, kind, payload) of each event, to the end."""
    params = {"after": after} if after else {}
    async with broker.http.get(events_url(broker, name), params=params, headers=headers) as response:
        assert response.status == 200, await response.text()
        return read_events(await response.read())


def read_events(body: bytes) -> list[tuple[str, str, bytes]]:
    found = []
    for block in re.split(rb"\n\n", body):
        lines = [line for line in block.split(b"\n") if line and not line.startswith(b":")]
        if lines:
            field = {name: rest for name, _, rest in (line.partition(b": ") for line in lines)}
            found.append((field.get(b"id", b"").decode(), field.get(b"event", b"").decode(), field[b"data"]))
    return found


async def next_event(response: aiohttp.ClientResponse, limit_s: float = 20.0) -> tuple[str, str, bytes]:
    async with asyncio.timeout(limit_s):
        while True:
            if found := read_events(await response.content.readuntil(b"\n\n")):
                return found[0]


def states(heard: list[tuple[str, str, bytes]]) -> list[str]:
    return [json.loads(payload)["state"] for _, kind, payload in heard if kind == "state"]


async def check_kept_in_order(place: Place) -> None:
    """Every job is in its owner's list; a queued one waits in just one place, and is counted; nothing else waits."""
    waiting, listed, names = [], set(), set()
    for key in [key.decode() for key in await place.keys()]:
        if key.startswith("queue:"):
            waiting += [name.decode() for name, _ in await place.read(key)]
        if key.startswith("jobs-of:"):
            listed |= {name.decode() for name, _ in await place.read(key)}
        if key.startswith("job:"):
            names.add(key.removeprefix("job:"))
    timers = [name.decode() for name, _ in await place.read("job-timers") or ()]
    assert listed == names
    assert int(await place.read("jobs-queued") or 0) == len(waiting) == len(set(waiting))
    resting = [name[2:] for name in timers if name.startswith("r:")]
    for name in names:
        job = await place.read(f"job:{name}")
        times = waiting.count(name) + resting.count(name)
        assert times == (job[b"s"] == b"queued"), (name, job, times)
        assert (f"x:{name}" in timers) == (job[b"s"] not in (b"queued", b"running")), (name, job)
        assert (f"s:{name}" in timers) == (job[b"s"] == b"running"), (name, job)
    assert {name for name in waiting} <= names
