"""Clients that ask without end, in every way that there is, and write down what they get."""

from __future__ import annotations

import asyncio
import random
import time

import aiohttp

from tests.chaos.asking import DEADLINE_S, ask
from tests.chaos.history import OK, Asked, History
from tests.chaos.repeating import Repeating
from tests.chaos.resuming import Resuming
from tests.chaos.submitting import Submitting
from tests.support.hook_receiver import HookReceiver

#: Two publishers' LLMs, a public one, the pool of the three, and an agent with the first.
MODELS, POOL, AGENT = ["a", "b", "p"], "all", "agent/x"
LONG_S = 30.0
_KINDS = {"plain": 4, "pooled": 3, "resumable": 2, "keyed": 2, "task": 2}


class Load:
    """``clients`` of them, until ``stop``. Each request has words that no other has."""

    def __init__(self, urls: list[str], history: History, receiver: HookReceiver, dice: random.Random):
        self._urls = urls
        self._history = history
        self._receiver = receiver
        self._dice = dice
        self._over = asyncio.Event()
        self.submitting: Submitting | None = None

    def stop(self) -> None:
        self._over.set()

    async def run(self, clients: int) -> None:
        # A connection each: one that its server closed between two requests would be no answer.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as http:
            self.submitting = Submitting(http, self._urls, self._history, self._receiver, self._dice)
            await asyncio.gather(*(self._client(http, number) for number in range(clients)))

    async def _client(self, http: aiohttp.ClientSession, number: int) -> None:
        count = 0
        resuming = Resuming(http, self._urls, self._history)
        repeating = Repeating(http, self._urls, self._history)
        while not self._over.is_set():
            count += 1
            marker, url = f"c{number}r{count}-", self._dice.choice(self._urls)
            tokens, streaming = self._dice.choice([1, 5, 20]), self._dice.random() < 0.6
            [kind] = self._dice.choices([*_KINDS], [*_KINDS.values()])
            model = self._dice.choice([*MODELS, POOL])
            if kind in ("plain", "pooled"):
                model = POOL if kind == "pooled" else self._dice.choice([*MODELS, AGENT])
            elif self._dice.random() < 0.1:
                model = AGENT
            one = Asked(marker, url, tokens, time.monotonic(), DEADLINE_S, kind, model)
            if kind == "task":
                await self.submitting.run(marker, model, tokens)
            elif kind == "keyed":
                # No outage is so long that a deadline could end what goes on.
                one.deadline_s = LONG_S
                await repeating.run(one, streaming=streaming)
            else:
                self._history.asked.append(one)
                if kind == "resumable":
                    one.deadline_s = float("inf")
                    await resuming.run(one)
                else:
                    await ask(http, one, streaming=streaming)
                # A refused client comes again a little later, as clients do.
                await asyncio.sleep(0 if one.ended_how == OK else 0.1)
