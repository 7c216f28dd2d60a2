"""One race: Redis, brokers and a publisher as processes, engines here, a rider for each row.

At the end every row must fall asleep, and publisher, brokers and engine must say
so; that nothing of any request is left in Redis is checked by the stage.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.racing.answers import Answers
from scripts.racing.engines import RacingOllama, RacingVLLM
from scripts.racing.hands import Hands
from scripts.racing.riders import Rider, Row
from tests.support.brokers import Replica
from tests.support.home import Home, home
from tests.support.processes import Stage, client

LOAD_S = (0.0, 0.03)
IDLE_S = (0.05, 0.3)
SLOTS = 2
TELL_EVERY_S = 5.0
OPEN_WITHIN_S = 10.0
ASLEEP_WITHIN_S = 20.0
CALLED_OFF = re.compile(r'^broker_http_answers_total\{status="409"\} ([0-9.]+)', re.MULTILINE)


@dataclass
class Outcome:
    answers: Answers
    seconds: float = 0.0
    sleeps: int = 0
    wakes: int = 0
    called_off: int = 0  # the broker had work, and did not agree
    by_hand: int = 0
    refused: int = 0  # by hand, because there was work
    insults: int = 0
    wrong: list[str] = field(default_factory=list)


async def race(stages: list[Stage], *, requests: int, rows: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """One broker on each stage; the publisher serves them all."""
    dice, answers = random.Random(seed), Answers()
    brokers = await asyncio.gather(*(stage.broker().ready() for stage in stages))
    async with AsyncExitStack() as stack, _grid(rows, dice) as grid:
        apis = [await stack.enter_async_context(client(broker.url)) for broker in brokers]
        user = stack.enter_context(home(stages[0]))
        at = [{"url": api.url} for api in apis]
        user.write_whole({"brokers": at, "providers": [_provider(row) for row in grid]})
        publisher = await user.publisher().ready()
        await asyncio.gather(*(_until_open(api, rows) for api in apis))
        riders = [Rider(row, apis, answers, random.Random(dice.random())) for row in grid]
        hands = Hands(Path(user.env["XDG_RUNTIME_DIR"]), [row.name for row in grid], random.Random(dice.random()))
        began = time.monotonic()
        beside = [asyncio.create_task(one) for one in (_tell(grid, answers, requests, say), hands.work())]
        await asyncio.gather(*(rider.ride(requests) for rider in riders))
        for task in beside:
            task.cancel()
        await _none_broke(beside)
        outcome = Outcome(answers, time.monotonic() - began, by_hand=hands.slept, refused=hands.refused)
        outcome.wrong = answers.wrong(_served(grid)) + hands.wrong + await _all_asleep(apis, user, grid)
        outcome.insults = sum(engine.insulted for engine in _engines(grid))
        if outcome.insults:
            outcome.wrong.append(f"{outcome.insults} times an engine was asked or put to sleep at the wrong time")
        outcome.sleeps, outcome.wakes = _slept(grid), sum(engine.loads for engine in _engines(grid))
        outcome.called_off = sum([await _called_off(api) for api in apis])
        publisher.terminate()
        if code := await publisher.ended():
            outcome.wrong.append(f"the publisher ended with {code}")
    return outcome


@asynccontextmanager
async def _grid(rows: int, dice: random.Random) -> AsyncIterator[list[Row]]:
    """Half of the rows have a vLLM each, the others are models of one Ollama."""
    ollama = RacingOllama([f"ollama-{number}" for number in range(rows // 2)], dice.uniform(*LOAD_S))
    vllms = [RacingVLLM(f"vllm-{number}", dice.uniform(*LOAD_S)) for number in range(rows - rows // 2)]
    async with AsyncExitStack() as stack:
        for engine in (ollama, *vllms):
            await stack.enter_async_context(engine)
        yield [Row(name, engine, round(dice.uniform(*IDLE_S), 3)) for engine in (ollama, *vllms) for name in engine.models]


async def _none_broke(tasks: list[asyncio.Task[None]]) -> None:
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(ended, asyncio.CancelledError):
            raise ended


def _provider(row: Row) -> dict:
    return {
        "publish": True, "name": row.name, "type": row.engine.kind, "url": row.engine.url, "slots": SLOTS, "minAwakeSeconds": 0,
        "idleSeconds": row.idle_s, "wake": {"type": "native"}, "sleep": {"type": "native"},
    }


def _engines(grid: list[Row]) -> list[RacingVLLM | RacingOllama]:
    return list({id(row.engine): row.engine for row in grid}.values())


def _slept(grid: list[Row]) -> int:
    return sum(row.engine.slept[row.name] for row in grid)


async def _tell(grid: list[Row], answers: Answers, requests: int, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        say(f"{len(answers.asked)} of {requests} requests, {_slept(grid)} sleeps")


# ── afterwards ──────────────────────────────────────────────────────────────


def _served(grid: list[Row]) -> Counter[str]:
    return Counter(json.loads(seen.body)["script"]["words"] for engine in _engines(grid) for seen in engine.talk.seen)


async def _all_asleep(apis: list[Replica], user: Home, grid: list[Row]) -> list[str]:
    until = time.monotonic() + ASLEEP_WITHIN_S
    while wrong := await _awake_for_some(apis, user, grid):
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.2)
    return wrong


async def _awake_for_some(apis: list[Replica], user: Home, grid: list[Row]) -> list[str]:
    believed = [{row["name"]: row["status"] for row in await _rows(api)} for api in apis]
    believed.append({row["name"]: row["state"] for row in (await user.status())["rows"]})
    found = []
    for row in grid:
        *brokers, publisher = [told.get(row.name) for told in believed]
        asleep = row.engine.is_asleep(row.name)
        if not asleep or {*brokers, publisher} != {"hibernating"}:
            is_ = "sleeps" if asleep else "is awake"
            found.append(f"{row.name}: {' and '.join(map(str, brokers))} at the brokers, {publisher} here, the engine {is_}")
    return found


async def _until_open(api: Replica, rows: int) -> None:
    async with asyncio.timeout(OPEN_WITHIN_S):
        while sum(row["channel"] for row in await _rows(api)) < rows:
            await asyncio.sleep(0.05)


async def _rows(api: Replica) -> list[dict]:
    return (await api.call("GET", "/api/v1/llms"))[1]


async def _called_off(api: Replica) -> int:
    _, told, _ = await api.call("GET", "/metrics")
    found = CALLED_OFF.search(told.decode())
    return round(float(found[1])) if found else 0
