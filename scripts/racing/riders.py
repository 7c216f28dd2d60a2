"""Who ask: for each row one rider, who waits until it is about to fall asleep, and asks then.

When that is, is learned from the engine: how long after the last answer it was put
to sleep. Most requests are aimed at that moment, some come at any time. Nothing
is judged here.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from itertools import count

import aiohttp

from scripts.racing.answers import Answers, Asked
from scripts.racing.engines import RacingOllama, RacingVLLM
from tests.support.brokers import Replica

PATIENCE_S = 30.0
AIMED = 0.7  # so many of the requests are
AGREED_S = 0.005  # so long before its engine hears of it, falling asleep is agreed with the broker
SPREAD_S = 0.01  # around that moment
MOST_AT_ONCE = 3
LEARNED = 0.3  # how much one falling asleep changes what is believed of the next

_numbers = count(1)


@dataclass
class Row:
    name: str
    engine: RacingVLLM | RacingOllama
    idle_s: float


class Rider:
    def __init__(self, row: Row, brokers: list[Replica], answers: Answers, dice: random.Random) -> None:
        self._row = row
        self._brokers = brokers
        self._answers = answers
        self._dice = dice
        self._sleeps_after_s = row.idle_s
        self._answered_at = time.monotonic()

    async def ride(self, most: int) -> None:
        """Until all riders together have asked so often."""
        while len(self._answers.asked) < most:
            await asyncio.sleep(self._pause_s())
            self._learn()
            at_once = min(most - len(self._answers.asked), self._dice.randint(1, MOST_AT_ONCE))
            await asyncio.gather(*[self._ask(self._next(), self._dice.random() * SPREAD_S) for _ in range(at_once)])

    def _next(self) -> Asked:
        one = Asked(f"r{next(_numbers)}-", self._row.name, self._dice.choice((1, 2, 5)))
        self._answers.asked.append(one)
        return one

    def _pause_s(self) -> float:
        if self._dice.random() < AIMED:
            aim_s = self._sleeps_after_s - AGREED_S + self._dice.uniform(-SPREAD_S, SPREAD_S)
            return max(0.0, self._answered_at + aim_s - time.monotonic())
        return self._dice.random() * 2 * self._row.idle_s

    def _learn(self) -> None:
        after_s = self._row.engine.slept_at[self._row.name] - self._answered_at
        if after_s > 0:
            self._sleeps_after_s += LEARNED * (after_s - self._sleeps_after_s)
        else:  # asked too early to see it
            self._sleeps_after_s += SPREAD_S

    async def _ask(self, one: Asked, apart_s: float) -> None:
        await asyncio.sleep(apart_s)
        began = time.monotonic()
        try:
            await self._answered(one, self._dice.random() < 0.5)
        except TimeoutError:
            one.note = f"no answer within {PATIENCE_S:g} s"
        except (aiohttp.ClientError, OSError, ValueError, LookupError) as err:
            one.note = repr(err)
        self._answered_at = time.monotonic()
        one.seconds = self._answered_at - began

    async def _answered(self, one: Asked, streaming: bool) -> None:
        script = {"words": one.marker, "tokens": one.words}
        body = {"model": one.row, "messages": [], "stream": streaming, "script": script}
        broker, patience = self._dice.choice(self._brokers), aiohttp.ClientTimeout(PATIENCE_S)
        async with broker.http.post(broker.url + "/v1/chat/completions", json=body, timeout=patience) as answer:
            one.status = answer.status
            if answer.status != 200:
                one.note = (await answer.text())[:200]
            elif streaming:
                async for line in answer.content:
                    _heard(one, line)
            else:
                one.said = (await answer.json())["choices"][0]["message"]["content"]
                one.ended += 1


def _heard(one: Asked, line: bytes) -> None:
    if not line.startswith(b"data: "):
        return
    payload = line[6:].strip()
    if payload == b"[DONE]":
        one.ended += 1
    elif "error" in (event := json.loads(payload)):
        one.note = payload.decode()[:200]
    else:
        one.said += event["choices"][0]["delta"]["content"]
