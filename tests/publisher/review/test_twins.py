"""Two rows that mean the same model of the same server: one's sleep never takes the other's work away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from publisher.config.values import Command, Recipe
from publisher.failures import TaskFailed
from tests.publisher.review.edits import config_of
from tests.publisher.running import play, scene

QUIET = {"availability_s": 1000.0}
RECIPE = Recipe((Command("true"),))
SLOW = {"messages": [], "script": {"delay_s": 0.1, "tokens": 5}}


def test_one_does_not_sleep_while_the_other_works():
    async def test():
        async with scene(wake=RECIPE, sleep=RECIPE, min_awake_s=0.0, slots=1) as s:
            provider = s.publisher.roster.get("m").provider
            await s.publisher.apply(config_of(s, provider, replace(provider, name="n")))
            told = await s.broker.infer(SLOW)
            await s.backend.until(lambda: s.backend.seen)
            with pytest.raises(TaskFailed, match="not idle"):
                await s.publisher.roster.get("n").power.down()
            assert (await s.broker.ended(told)).last["status"] == 200

    play(test())


def test_in_one_group_neither_has_to_make_room_for_the_other():
    async def test():
        async with scene(wake=RECIPE, sleep=RECIPE, min_awake_s=0.0, slots=1, group="gpu0", max_wait_s=1.0, timers=QUIET) as s:
            provider = s.publisher.roster.get("m").provider
            await s.publisher.apply(config_of(s, provider, replace(provider, name="n")))
            other = s.publisher.roster.get("n")
            other.power.seen(False)
            first, second = await s.broker.infer(SLOW), await s.broker.infer(SLOW, llm="n")
            assert (await s.broker.ended(first)).last["status"] == 200
            assert (await s.broker.ended(second)).last["status"] == 200

    play(test())
