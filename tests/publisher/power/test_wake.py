"""Waking and sleeping: recipes, the poll after them, one wake for all, and the idle watch."""

import asyncio
import sys

from publisher.config.values import Command
from tests.publisher.running import play, scene
from tests.support.backend import Script
from tests.support.waiting import eventually

NEVER = {"availability_s": 1000.0}


def asleep(broker, backend):
    backend.up = False


def python(code: str, timeout_s: float = 20.0) -> Command:
    return Command(sys.executable, ("-c", code), timeout_s)


def knock(path) -> Command:
    """A recipe that leaves one line behind each time it runs."""
    return python(f"open({str(path)!r}, 'a').write('run\\n')")


def test_a_provider_with_a_recipe_registers_as_what_it_is(tmp_path):
    async def test():
        async with scene(wake=knock(tmp_path / "runs"), timers=NEVER) as s:
            assert s.broker.registrations[0]["providers"][0]["initialStatus"] == "active"
        async with scene(wake=knock(tmp_path / "runs"), prepare=asleep, timers=NEVER) as s:
            assert s.broker.registrations[0]["providers"][0]["initialStatus"] == "hibernating"
        async with scene(prepare=asleep) as s:
            assert s.broker.registrations[0]["providers"][0]["initialStatus"] == "active"
        assert not (tmp_path / "runs").exists()

    play(test())


def test_a_wake_runs_the_recipe_and_polls_until_the_backend_answers(tmp_path):
    async def test():
        async with scene(wake=knock(tmp_path / "runs"), prepare=asleep, timers=NEVER) as s:
            told = await s.broker.order("wake")
            await s.backend.until(lambda: s.backend.checks >= 4)
            s.backend.up = True
            await s.broker.ended(told)
            assert told.last["status"] == 200 and told.last["body"]["ok"] is True
            assert isinstance(told.last["body"]["ms"], int)
            assert "heartbeat" in s.broker.calls
            assert (tmp_path / "runs").read_text() == "run\n"

    play(test())


def test_what_wakes_while_the_broker_answers_its_registration_is_told_at_once(tmp_path):
    def asleep_before_a_slow_broker(broker, backend):
        backend.up = False
        broker.hold_registration = asyncio.Event()

    async def test():
        recipe = knock(tmp_path / "runs")
        async with scene(wake=recipe, prepare=asleep_before_a_slow_broker, wait_ready=False, timers=NEVER) as s:
            await s.broker.until(lambda: s.broker.registrations)
            s.backend.up = True
            await next(iter(s.publisher.roster)).power.up()
            seen = s.backend.checks
            await s.backend.until(lambda: s.backend.checks > seen)  # the look that a wake asks for has been
            s.broker.hold_registration.set()
            await s.broker.until(lambda: s.broker.statuses == [("m", "active")])
        assert s.broker.registrations[0]["providers"][0]["initialStatus"] == "hibernating"

    play(test())


def test_any_number_of_wakes_share_one_recipe(tmp_path):
    async def test():
        async with scene(wake=knock(tmp_path / "runs"), prepare=asleep, timers=NEVER) as s:
            told = [await s.broker.order("wake") for _ in range(5)]
            await s.backend.until(lambda: s.backend.checks >= 4)
            s.backend.up = True
            for one in told:
                assert (await s.broker.ended(one)).last["status"] == 200
            assert (tmp_path / "runs").read_text() == "run\n"

    play(test())


def test_a_backend_that_stays_down_is_a_failed_wake_and_the_next_tries_afresh(tmp_path):
    async def test():
        async with scene(wake=knock(tmp_path / "runs"), max_wait_s=0.05, prepare=asleep, timers=NEVER) as s:
            for runs in (1, 2):
                told = await s.broker.ended(await s.broker.order("wake"))
                assert told.last["code"] == "wake_failed" and "within 0.05 s" in told.last["error"]
                assert (tmp_path / "runs").read_text() == "run\n" * runs

    play(test())


def test_a_failing_command_is_reported_with_the_end_of_what_it_said():
    async def test():
        recipe = python("print('\\n'.join(map(str, range(100)))); import sys; print('no GPU'); sys.exit(3)")
        async with scene(wake=recipe, prepare=asleep, timers=NEVER) as s:
            told = await s.broker.ended(await s.broker.order("wake"))
            assert told.last["code"] == "wake_failed"
            assert "exit code 3" in told.last["error"] and "no GPU" in told.last["error"]
            assert " 81 / " in told.last["error"] and " 80 / " not in told.last["error"]

    play(test())


def test_a_wake_of_what_cannot_be_woken_says_so():
    async def test():
        async with scene() as s:
            told = await s.broker.ended(await s.broker.order("wake"))
            assert "no wake recipe" in told.last["error"]
            told = await s.broker.ended(await s.broker.order("wake", llm="other"))
            assert "not published" in told.last["error"]

    play(test())


def test_a_cancelled_wake_task_leaves_the_wake_to_the_others(tmp_path):
    async def test():
        async with scene(wake=knock(tmp_path / "runs"), prepare=asleep, timers=NEVER) as s:
            first, second = await s.broker.order("wake"), await s.broker.order("wake")
            await s.backend.until(lambda: s.backend.checks >= 3)
            await s.broker.send(kind="cancel", taskId=s.broker.id_of(first))
            assert (await s.broker.ended(first)).last["code"] == "cancelled"
            s.backend.up = True
            assert (await s.broker.ended(second)).last["status"] == 200

    play(test())


def test_a_request_that_finds_its_backend_gone_wakes_it_and_is_answered():
    async def test():
        async with scene(timers=NEVER, wake=python("pass")) as s:
            await s.backend.stop()
            told = [await s.broker.infer({"messages": []}) for _ in range(3)]
            await s.backend.start()
            for one in told:
                assert (await s.broker.ended(one)).last["status"] == 200

    play(test())


def test_a_request_whose_wake_fails_says_why_and_the_broker_hears_of_the_sleep():
    async def test():
        async with scene(timers=NEVER, wake=python("raise SystemExit(1)")) as s:
            await s.backend.stop()
            told = await s.ask()
            assert told.last["code"] == "wake_failed" and "exit code 1" in told.last["error"]
            await s.broker.until(lambda: s.broker.statuses == [("m", "hibernating")])

    play(test())


def test_the_watch_tells_when_a_backend_falls_asleep_and_when_it_is_back():
    async def test():
        async with scene(wake=python("pass")) as s:
            s.broker.refuse["status"] = [(409, "work is queued")]
            s.backend.up = False
            await s.broker.until(lambda: s.broker.statuses == [("m", "hibernating")])
            s.backend.up = True
            await s.broker.until(lambda: s.broker.statuses == [("m", "hibernating"), ("m", "active")])

    play(test())


def test_a_sleep_runs_its_recipe_and_reports_the_sleep(tmp_path):
    async def test():
        async with scene(wake=python("pass"), sleep=knock(tmp_path / "slept"), timers=NEVER) as s:
            told = await s.broker.order("sleep")
            await eventually((tmp_path / "slept").exists)
            s.backend.up = False
            await s.broker.ended(told)
            assert told.last["body"]["ok"] is True and s.broker.statuses == [("m", "hibernating")]

    play(test())


def test_a_provider_with_work_is_not_put_to_sleep(tmp_path):
    async def test():
        async with scene(script=Script(hang="head"), wake=python("pass"), sleep=knock(tmp_path / "slept")) as s:
            await s.broker.infer({})
            told = await s.broker.ended(await s.broker.order("sleep"))
            assert told.last["code"] == "busy" and not (tmp_path / "slept").exists()
        async with scene() as s:
            told = await s.broker.ended(await s.broker.order("sleep"))
            assert "no sleep recipe" in told.last["error"]

    play(test())
