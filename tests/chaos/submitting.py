"""Clients of durable tasks: submitted at all replicas at once under one key, followed or looked at, told of by webhook."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp

from tests.chaos.history import History
from tests.support.hook_receiver import HookReceiver
from tests.support.job_history import Submitted, violations
from tests.support.jobs import TASKS, events, read_events, result, task
from tests.support.processes import client

_PATIENCE_S = 60.0
_ENDED = ("done", "failed", "dead", "cancelled")
MOST_ATTEMPTS = 10

T = TypeVar("T")


@dataclass
class Task(Submitted):
    model: str
    told_by_webhook: bool
    cancelled: bool = False
    #: (id, kind, payload) of each event; of states the payload is left out.
    followed: list[tuple[str, str, bytes]] = field(default_factory=list)
    #: The ids of the answer that is its result.
    generations: set[str] = field(default_factory=set)
    attempts: int = 0


class Submitting:
    def __init__(self, http: aiohttp.ClientSession, urls: list[str], history: History, receiver: HookReceiver, dice: random.Random):
        self._http = http
        self._urls = urls
        self._history = history
        self._receiver = receiver
        self._dice = dice
        self.tasks: list[Task] = []

    async def run(self, marker: str, model: str, tokens: int) -> None:
        """One task, to its end."""
        webhook, follows = self._dice.random() < 0.4, self._dice.random() < 0.5
        body = {"model": model, "request": {
            "messages": [], "stream": True, "script": {"words": marker, "tokens": tokens, "delay_s": 0.02},
        }}
        if webhook:
            body["webhook"] = {"url": self._receiver.url, "secret": "s"}
        names = set(await asyncio.gather(*(self._submitted(url, marker, body) for url in self._urls)))
        if len(names) != 1 or not min(names).startswith("job_"):
            return self._history.told.append(f"the task {marker} was accepted as {names}")
        one = Task(names.pop(), marker, tokens, model, webhook)
        self.tasks.append(one)
        if self._dice.random() < 0.15:
            await asyncio.sleep(self._dice.uniform(0, 0.5))
            await self._cancel(one)
        await (self._follow(one) if follows else self._look(one))

    async def _submitted(self, url: str, marker: str, body: dict) -> str:
        """Its id; '' if it was refused for good."""

        async def attempt(_: str) -> str | None:
            async with self._http.post(url + TASKS, json=body, headers={"Idempotency-Key": marker}) as answer:
                if answer.status == 202:
                    return (await answer.json())["id"]
                return None if answer.status in (429, 503) else f"{answer.status} {(await answer.text())[:200]}"

        return await self._until(attempt) or ""

    async def _cancel(self, one: Task) -> None:
        async def attempt(url: str) -> bool:
            async with self._http.delete(f"{url}{TASKS}/{one.name}") as answer:
                if answer.status not in (200, 503):
                    self._wrong(one, f"cannot be cancelled: {answer.status} {(await answer.text())[:200]}")
                return answer.status != 503

        one.cancelled = True
        await self._until(attempt)

    async def _look(self, one: Task) -> None:
        async def attempt(url: str) -> bool:
            async with self._http.get(f"{url}{TASKS}/{one.name}") as answer:
                if answer.status == 404:
                    self._wrong(one, f"is unknown at {url}")
                return answer.status == 404 or answer.status == 200 and (await answer.json())["state"] in _ENDED

        if not await self._until(attempt):
            self._wrong(one, "did not end")

    async def _follow(self, one: Task) -> None:
        """Its events, at another replica whenever a connection breaks."""

        async def attempt(url: str) -> bool:
            params = {"after": one.followed[-1][0]} if one.followed else {}
            async with self._http.get(f"{url}{TASKS}/{one.name}/events", params=params) as answer:
                if answer.status == 404:
                    self._wrong(one, f"is unknown at {url}")
                    return True
                while answer.status == 200:
                    try:
                        block = await answer.content.readuntil(b"\n\n")
                    except asyncio.IncompleteReadError:
                        break
                    if not block.endswith(b"\n\n"):
                        break
                    one.followed += [(name, kind, b"" if kind else payload) for name, kind, payload in read_events(block) if name]
            return bool(one.followed) and one.followed[-1][0].endswith("-last")

        if not await self._until(attempt):
            self._wrong(one, f"could not be followed to its end: {one.followed[-3:]}")

    async def _until(self, attempt: Callable[[str], Awaitable[T]]) -> T | None:
        """Tries at one replica or the other until something comes of it, or patience ends."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            with suppress(aiohttp.ClientError, OSError):
                if found := await attempt(self._dice.choice(self._urls)):
                    return found
            await asyncio.sleep(0.1)
        return None

    def _wrong(self, one: Task, what: str) -> None:
        self._history.told.append(f"the task {one.name} of {one.marker} at {one.model} {what}")

    async def violations(self) -> list[str]:
        """Broken promises of all tasks, when everybody is well again."""
        at_once = asyncio.Semaphore(8)
        async with client(self._urls[0]) as one, client(self._urls[1]) as two:

            async def looked_at(given: Task) -> list[str]:
                async with at_once:
                    try:
                        return await self._broken_by(given, [one, two])
                    except AssertionError as error:
                        return [f"the task {given.name} of {given.marker}: {error}"]

            return [what for found in await asyncio.gather(*map(looked_at, self.tasks)) for what in found]

    async def _broken_by(self, given: Task, readers: list) -> list[str]:
        told = await task(readers[0], given.name)
        given.attempts = len(told["attempts"])
        found = []
        if given.cancelled and told["state"] == "cancelled":
            if await task(readers[1], given.name) != told or (await result(readers[0], given.name))[0] != 404:
                found.append(f"{given.marker} was cancelled, and has a result or is told differently: {told}")
        else:
            # Its end may have come first.
            found += await violations(readers, [given], most_attempts=MOST_ATTEMPTS)
            given.generations = ids_in((await result(readers[0], given.name))[1])
        if given.followed:
            heard = [(name, kind, b"" if kind else payload) for name, kind, payload in await events(readers[0], given.name)]
            if heard != given.followed:
                found.append(f"{given.marker} was told as {given.followed}, and later as {heard}")
        if given.told_by_webhook:
            heard = self._receiver.told.get(given.name, set())
            if told["webhook"]["state"] != "delivered" or [kind for _, kind in heard] != [f"task.{told['state']}"]:
                found.append(f"the webhook of {given.marker}, {told['state']}, is {told['webhook']}, and heard {heard}")
        return found

    async def all_told(self, within_s: float) -> None:
        """Waits for the webhooks that are still to be told, so long at most."""
        until = time.monotonic() + within_s
        waited_for = [one for one in self.tasks if one.told_by_webhook]
        async with client(self._urls[0]) as api:
            while waited_for and time.monotonic() < until:
                if (await task(api, waited_for[0].name))["webhook"]["state"] == "delivered":
                    waited_for.pop(0)
                else:
                    await asyncio.sleep(0.1)


def ids_in(answer: bytes) -> set[str]:
    """The ids of a streamed answer's events."""
    found = set()
    for line in answer.split(b"\n"):
        if line.startswith(b"data: {"):
            found.add(json.loads(line[6:])["id"])
    return found
