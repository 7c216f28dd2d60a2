"""Several models of one server: one at a time on one GPU, and models that are pulled and removed.

All timers of the publisher are its own.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.engines import Model, Ollama
from tests.support.home import home, publishes
from tests.support.live import Stream, word
from tests.support.processes import client
from tests.support.waiting import eventually

NATIVE = {"wake": {"type": "native"}, "sleep": {"type": "native"}}


class OneGPU(Ollama):
    """Knows how many models were ever in memory at once."""

    most_loaded = 0

    async def _load(self, model: Model) -> None:
        await super()._load(model)
        self.most_loaded = max(self.most_loaded, len(self.loaded))


@pytest.mark.limit_s(90)
async def test_of_two_models_in_one_exclusive_group_never_more_than_one_is_loaded_and_all_are_answered(stage):
    broker = await stage.broker(queue_wait_seconds=25, deadline_seconds=40).ready()
    with home(stage) as user:
        async with OneGPU(["a", "b"], load_s=0.05) as engine, client(broker.url) as api:
            entry = {"type": "ollama", "url": engine.url, "models": ["*"], "slots": 2, **NATIVE}
            user.write(broker.url, {**entry, "group": "gpu", "minAwakeSeconds": 0})
            await user.publisher().ready()
            answers = await asyncio.gather(*(api.chat(name) for name in "abbaab"))
            assert [status for status, _, _ in answers] == [200] * 6, answers
            for name in "abab":
                status, answer, _ = await api.chat(name)
                assert status == 200, answer
                assert engine.loaded == [name]
            assert engine.most_loaded == 1
            states = {row["name"]: (row["state"], row["group"]) for row in (await user.status())["rows"]}
            assert states == {"a": ("hibernating", "gpu"), "b": ("active", "gpu")}
            assert (await api.llm("a"))["status"] == "hibernating" and (await api.llm("b"))["status"] == "active"


@pytest.mark.limit_s(90)
async def test_a_model_that_is_pulled_is_published_within_ten_seconds_and_one_that_is_removed_goes(stage):
    broker = await stage.broker().ready()
    with home(stage) as user:
        async with Ollama(["old"]) as engine, client(broker.url) as api:
            user.write(broker.url, {"type": "ollama", "url": engine.url, "models": ["*"]})
            publisher = await user.publisher().ready()
            before = await api.llm("old")
            engine.models["new"] = Model("new")
            took_s = await until_rows(api, {"old", "new"})
            print(f"a new model is published after {took_s:.1f} s")
            assert took_s <= 10
            async with Stream(api, "new") as stream:
                assert [word(one) for one in (await stream.rest())[:-1]] == ["tök€n0 ", "tök€n1 ", "tök€n2 "]
            del engine.models["new"]
            took_s = await until_rows(api, {"old"})
            print(f"a removed model is gone after {took_s:.1f} s")
            assert took_s <= 15
            assert (await api.llm("old"))["id"] == before["id"]
            assert publisher.log().count("channel open") == 1


async def until_rows(api, names: set[str]) -> float:
    began = time.monotonic()
    await eventually(lambda: publishes(api, names), 20)
    return time.monotonic() - began
