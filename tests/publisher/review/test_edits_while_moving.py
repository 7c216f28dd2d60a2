"""A reload that edits a provider whose server runs, wakes or works: nobody is torn off, nothing is started twice."""

from __future__ import annotations

import asyncio
import sys

import pytest

from publisher.config.values import Command, Process, Recipe, WarmHours
from publisher.failures import WakeFailed
from scripts.ports import free_port
from tests.publisher.running import play, scene
from tests.publisher.review.edits import config_of, edit
from tests.support.waiting import eventually

SLOW = {"messages": [], "stream": True, "script": {"delay_s": 0.05, "tokens": 12}}


def asleep(broker, backend):
    backend.up = False


def server(port: int, **more) -> Recipe:
    return Recipe((Process(sys.executable, ("-m", "tests.support.backend", "--port", str(port)), grace_s=2.0, **more),))


def served(tmp_path, port: int, **more) -> dict:
    recipe = server(port, log_file=str(tmp_path / "log"))
    return {"url": f"http://127.0.0.1:{port}/v1", "model": "m", "wake": recipe, "max_wait_s": 20.0, **more}


def pid(s) -> int | None:
    return s.publisher.roster.get("m").held.process.pid


async def wake(s) -> None:
    assert (await s.broker.ended(await s.broker.order("wake"))).last.get("status") == 200


def test_a_server_whose_own_words_are_unchanged_runs_on_and_so_does_what_it_works_at(tmp_path):
    async def test():
        async with scene(**served(tmp_path, free_port())) as s:
            await wake(s)
            before = pid(s)
            told = await s.broker.infer(SLOW)
            await s.broker.until(lambda: told.payloads)
            await edit(s, description="another")
            during = await s.broker.infer(SLOW)
            assert (await s.broker.ended(told)).payloads[-1] == "[DONE]"
            assert (await s.broker.ended(during)).payloads[-1] == "[DONE]"
            assert before is not None and pid(s) == before

    play(test())


def test_with_other_words_the_next_request_waits_for_the_old_server_s_end_and_starts_the_new_one(tmp_path):
    async def test():
        port = free_port()
        async with scene(**served(tmp_path, port)) as s:
            await wake(s)
            before = pid(s)
            told = await s.broker.infer(SLOW)
            await s.broker.until(lambda: told.payloads)
            await edit(s, wake=server(port, log_file=str(tmp_path / "log"), env={"ANOTHER": "1"}))
            during = await s.broker.infer(SLOW)
            assert (await s.broker.ended(told)).payloads[-1] == "[DONE]"
            assert (await s.broker.ended(during)).payloads[-1] == "[DONE]"
            assert pid(s) not in (None, before)

    play(test())


def test_a_wake_that_a_broker_waits_for_goes_on(tmp_path):
    async def test():
        async with scene(wake=Command("true"), prepare=asleep) as s:
            told = await s.broker.order("wake")
            await s.backend.until(lambda: s.backend.checks >= 4)
            await edit(s, description="another")
            s.backend.up = True
            assert (await s.broker.ended(told)).last.get("status") == 200
            await eventually(lambda: s.publisher.status().rows[0].state == "active")

    play(test())


def test_a_wake_by_hand_of_what_is_edited_fails_in_words_and_is_shown_no_more():
    async def test():
        async with scene(wake=Command("true"), prepare=asleep) as s:
            waking = asyncio.create_task(s.publisher.roster.get("m").power.up())
            await eventually(lambda: s.publisher.activity.wakes)
            await edit(s, description="another")
            with pytest.raises(WakeFailed, match="its config is another one now"):
                await waking
            assert not s.publisher.activity.wakes

    play(test())


def test_what_is_gone_tells_the_brokers_nothing_in_the_name_of_what_took_its_place():
    async def test():
        async with scene(wake=Command("true"), prepare=asleep, timers={"availability_s": 1000.0}) as s:
            old = s.publisher.roster.get("m")
            waking = asyncio.create_task(old.power.up())
            await eventually(lambda: s.publisher.activity.wakes)
            s.backend.up = True
            assert await waking >= 0
            await s.broker.until(lambda: s.broker.statuses == [("m", "active")])
            await edit(s, description="another")
            old.power.seen(False)
            assert await s.broker.ended(await s.broker.infer({"messages": []}))
            assert s.broker.statuses == [("m", "active")]

    play(test())


def test_two_edits_in_a_row_leave_one_server_and_its_end_stops_it(tmp_path):
    async def test():
        async with scene(**served(tmp_path, free_port())) as s:
            await wake(s)
            process = s.publisher.roster.get("m").held.process
            await asyncio.gather(edit(s, description="one"), edit(s, tier="heavy"))
            assert process.running
            await s.publisher.apply(config_of(s))
            await eventually(lambda: not process.running)

    play(test())


def test_slots_that_are_written_no_more_count_no_more():
    async def test():
        async with scene(slots=8) as s:
            await edit(s, slots=None)
            await s.broker.until(lambda: s.broker.registrations[-1]["providers"][0]["slots"] == 1)

    play(test())


def test_what_was_put_to_sleep_by_hand_in_its_warm_hours_sleeps_on():
    async def test():
        always = (WarmHours(frozenset(range(7)), 0, 1440, "UTC"),)
        recipe = Recipe((Command("true"),))
        async with scene(wake=recipe, sleep=recipe, min_awake_s=0.0, warm_hours=always, timers={"prewarm_s": 0.01}) as s:
            s.backend.up = False
            await s.publisher.roster.get("m").power.down(by_hand=True)
            known = len(s.broker.registrations)
            await edit(s, description="another")
            await s.broker.until(lambda: len(s.broker.registrations) > known)
            checks = s.backend.checks
            await s.backend.until(lambda: s.backend.checks > checks)
            assert s.publisher.status().rows[0].state == "hibernating" and not s.publisher.activity.wakes

    play(test())
