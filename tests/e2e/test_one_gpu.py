"""Two models on one GPU with people who ask for both all the time, and one that is warm by the calendar.

Everything is real but the engine; timers of the publisher are its own.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.e2e.test_several_models import NATIVE, OneGPU
from tests.support.home import home
from tests.support.processes import client
from tests.support.waiting import eventually

SLOW = {"script": {"tokens": 4, "delay_s": 0.1}}
WAIT_S = 3.0


@pytest.mark.limit_s(90)
async def test_a_model_that_always_has_work_makes_room_at_the_bound_and_nobody_is_refused(stage):
    broker = await stage.broker(queue_wait_seconds=2, deadline_seconds=40).ready()
    with home(stage) as user:
        async with OneGPU(["a", "b"], load_s=0.2) as engine, client(broker.url) as api:
            entry = {"type": "ollama", "url": engine.url, "models": ["*"], "slots": 2, **NATIVE}
            user.write(broker.url, {**entry, "group": "gpu", "minAwakeSeconds": 0, "groupWaitSeconds": WAIT_S})
            await user.publisher().ready()
            until = time.monotonic() + 16
            statuses: list[int] = []
            waits: dict[str, list[float]] = {"a": [], "b": []}

            async def customer(model: str) -> None:
                while (began := time.monotonic()) < until:
                    statuses.append((await api.chat(model, **SLOW))[0])
                    waits[model].append(time.monotonic() - began)

            await asyncio.gather(*(customer(model) for model in "aaaabbbb"))
            assert set(statuses) == {200}, statuses
            assert engine.most_loaded == 1
            longest = {model: max(those) for model, those in waits.items()}
            print(f"{len(statuses)} answers, {engine.loads} loads, longest waits {longest}")
            assert min(len(those) for those in waits.values()) >= 8
            assert 3 <= engine.loads <= 20 / WAIT_S + 2, "few swaps"
            assert max(longest.values()) <= WAIT_S + 6


@pytest.mark.limit_s(90)
async def test_a_model_in_its_warm_hours_is_loaded_unasked_and_stays_beyond_its_idle_time(stage):
    broker = await stage.broker().ready()
    with home(stage) as user:
        async with OneGPU(["a", "b"]) as engine, client(broker.url) as api:
            entry = {"type": "ollama", "url": engine.url, "idleSeconds": 1, "minAwakeSeconds": 0, **NATIVE}
            always = {"from": "00:00", "to": "24:00", "timezone": "Europe/Berlin"}
            user.write(broker.url, {**entry, "name": "a", "warmHours": [always]}, {**entry, "name": "b"})
            await user.publisher().ready()
            await eventually(lambda: engine.loaded == ["a"], 10)
            await api.until_status("a", "active")
            assert (await api.chat("b"))[0] == 200
            await eventually(lambda: engine.loaded == ["a"], 10)
            assert engine.models["a"].loads == 1, "one that had its hours slept for want of work"
            rows = {row["name"]: row for row in (await user.status())["rows"]}
            assert (rows["a"]["warm"], rows["a"]["warmChangesInS"], rows["a"]["sleepsInS"]) == (True, None, None)
            shown = (await user.verb("status")).out
            assert "WARM" in shown and "always" in shown
            user.write(broker.url, {**entry, "name": "a"}, {**entry, "name": "b"})
            await eventually(lambda: engine.loaded == [], 15)
