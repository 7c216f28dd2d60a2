"""Sleeps again: after its time without work, never with work, not at once after a wake, and agreed with the broker."""

import asyncio
import sys

from publisher.config.values import Command
from publisher.power.idle import sleeps_in_s
from tests.publisher.running import play, scene
from tests.support.backend import Script
from tests.support.waiting import eventually

QUIET = {"availability_s": 1000.0}


def leave(path) -> Command:
    return Command(sys.executable, ("-c", f"open({str(path)!r}, 'a').write('x')"))


def ran(path) -> int:
    return len(path.read_text()) if path.exists() else 0


async def asleep(s, path) -> None:
    """The sleep recipe ran: the backend goes, and the broker hears of it."""
    await eventually(lambda: ran(path))
    s.backend.up = False


def idle(tmp_path, idle_s: float = 0.15, **more) -> dict:
    return {"wake": Command("true"), "sleep": leave(tmp_path / "slept"), "idle_s": idle_s, "min_awake_s": 0.0, **more}


def test_after_its_idle_time_it_sleeps_and_the_row_hibernates(tmp_path):
    async def test():
        async with scene(timers=QUIET, **idle(tmp_path)) as s:
            await s.broker.until(lambda: s.broker.statuses == [("m", "hibernating")])
            await asleep(s, tmp_path / "slept")
            await eventually(lambda: s.publisher.status().rows[0].state == "hibernating")
            assert ran(tmp_path / "slept") == 1

    play(test())


def test_the_broker_agrees_before_the_recipe_runs(tmp_path):
    async def test():
        refusals = [(409, "work is queued")] * 1000

        def prepare(broker, backend):
            broker.refuse["status"] = refusals

        async with scene(timers=QUIET, prepare=prepare, **idle(tmp_path)) as s:
            await s.broker.until(lambda: len(refusals) <= 998)
            assert ran(tmp_path / "slept") == 0 and s.broker.statuses == []
            refusals.clear()
            await asleep(s, tmp_path / "slept")
            assert s.broker.statuses == [("m", "hibernating")]

    play(test())


def test_work_puts_the_sleep_off(tmp_path):
    async def test():
        async with scene(timers=QUIET, script=Script(hang="head"), **idle(tmp_path, idle_s=1.0)) as s:
            told = await s.broker.infer({})
            await s.backend.until(lambda: s.backend.seen)
            endpoint = s.publisher.roster.get("m")
            assert sleeps_in_s(endpoint) is None
            await s.broker.send(kind="cancel", taskId=s.broker.id_of(told), reason="client gone")
            await s.broker.ended(told)
            assert ran(tmp_path / "slept") == 0 and 0.5 < sleeps_in_s(endpoint) <= 1.0, "the idle time begins anew"
            await asleep(s, tmp_path / "slept")

    play(test())


def test_the_minimum_awake_time_holds_it_up(tmp_path):
    async def test():
        async with scene(timers=QUIET, **idle(tmp_path, idle_s=0.01, min_awake_s=1000.0)) as s:
            assert sleeps_in_s(s.publisher.roster.get("m")) > 900
            assert (await s.ask()).last["status"] == 200
            assert ran(tmp_path / "slept") == 0

    play(test())


def test_a_request_that_comes_while_it_falls_asleep_is_served_after_a_new_wake(tmp_path):
    async def test():
        async with scene(timers=QUIET, **idle(tmp_path, wake=leave(tmp_path / "woke"))) as s:
            await eventually(lambda: ran(tmp_path / "slept"))  # it still answers: falling asleep is not over
            told = await s.broker.infer({"messages": []})
            s.backend.up = False
            await eventually(lambda: ran(tmp_path / "woke"))
            assert not s.backend.seen, "nothing went to a backend that was going away"
            s.backend.up = True
            assert (await s.broker.ended(told)).last["status"] == 200

    play(test())


def test_a_wake_that_comes_while_it_falls_asleep_waits_and_then_wakes_it(tmp_path):
    async def test():
        async with scene(timers=QUIET, **idle(tmp_path, wake=leave(tmp_path / "woke"))) as s:
            await eventually(lambda: ran(tmp_path / "slept"))
            wake = await s.broker.order("wake")
            s.backend.up = False
            await eventually(lambda: ran(tmp_path / "woke"))
            s.backend.up = True
            assert (await s.broker.ended(wake)).last["body"]["ok"] is True

    play(test())


def test_a_failed_sleep_leaves_it_awake_and_the_broker_knows(tmp_path):
    async def test():
        failing = Command(sys.executable, ("-c", "print('no such switch'); raise SystemExit(3)"))
        async with scene(timers=QUIET, **idle(tmp_path, sleep=failing)) as s:
            await s.broker.until(lambda: s.broker.statuses[:2] == [("m", "hibernating"), ("m", "active")])
            row = s.publisher.status().rows[0]
            assert "no such switch" in row.last_error
            assert (await s.ask()).last["status"] == 200

    play(test())


def test_a_server_that_still_answers_after_its_sleep_recipe_stays_active(tmp_path):
    async def test():
        async with scene(timers={**QUIET, "settle_s": 0.05}, **idle(tmp_path)) as s:
            await s.broker.until(lambda: s.broker.statuses[:2] == [("m", "hibernating"), ("m", "active")])
            assert "still answers" in s.publisher.status().rows[0].last_error

    play(test())


def test_without_idle_seconds_it_never_sleeps_by_itself(tmp_path):
    async def test():
        async with scene(timers=QUIET, **idle(tmp_path, idle_s=None)) as s:
            assert sleeps_in_s(s.publisher.roster.get("m")) is None
            for _ in range(50):
                await asyncio.sleep(0)
            assert ran(tmp_path / "slept") == 0

    play(test())
