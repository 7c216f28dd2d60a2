"""Waking and sleeping: recipes, the poll after them, one wake for all, and the idle watch."""

import asyncio
import os
import select
import sys
import time
from types import SimpleNamespace

import aiohttp
import pytest

from publisher.config import CommandRecipe, HttpRecipe
from publisher.recipe import RecipeFailed, run_recipe
from publisher.watch import Watch
from tests.publisher.running import play, scene
from tests.support.backend import Script

NEVER = {"availability_s": 1000.0}


def asleep(broker, backend):
    backend.up = False


def python(code: str, timeout_s: float = 20.0) -> CommandRecipe:
    return CommandRecipe(sys.executable, ("-c", code), timeout_s)


def knock(path) -> CommandRecipe:
    """A recipe that leaves one line behind each time it runs."""
    return python(f"open({str(path)!r}, 'a').write('run\\n')")


async def command(recipe: CommandRecipe) -> None:
    async with aiohttp.ClientSession() as http:
        await run_recipe(recipe, http)


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


def test_the_watch_looks_only_at_idle_providers_with_a_recipe():
    class Checked(SimpleNamespace):
        async def available(self):
            self.checks += 1
            if self.checks == 3:
                enough.set()
            return True

    def endpoint(idle: bool, wake: object) -> SimpleNamespace:
        backend = Checked(checks=0, url="http://x")
        return SimpleNamespace(idle=idle, wake=wake, backend=backend, misses=0, status="active", name="x")

    enough = asyncio.Event()

    async def test():
        idle, busy, plain = endpoint(True, object()), endpoint(False, object()), endpoint(True, None)
        watch = asyncio.create_task(Watch([idle, busy, plain], None, 0.01).run())
        await asyncio.wait_for(enough.wait(), 5)
        watch.cancel()
        await asyncio.wait([watch])
        assert (idle.backend.checks, busy.backend.checks, plain.backend.checks) == (3, 0, 0)

    play(test())


def test_a_sleep_runs_its_recipe_and_reports_the_sleep(tmp_path):
    async def test():
        async with scene(wake=python("pass"), sleep=knock(tmp_path / "slept"), timers=NEVER) as s:
            told = await s.broker.ended(await s.broker.order("sleep"))
            assert told.last["body"]["ok"] is True
            assert (tmp_path / "slept").exists() and s.broker.statuses == [("m", "hibernating")]

    play(test())


def test_a_provider_with_work_is_not_put_to_sleep(tmp_path):
    async def test():
        async with scene(script=Script(hang="head"), sleep=knock(tmp_path / "slept")) as s:
            await s.broker.infer({})
            told = await s.broker.ended(await s.broker.order("sleep"))
            assert told.last["code"] == "busy" and not (tmp_path / "slept").exists()
        async with scene() as s:
            told = await s.broker.ended(await s.broker.order("sleep"))
            assert "no sleep recipe" in told.last["error"]

    play(test())


def test_an_http_recipe_sends_what_it_says_and_any_2xx_is_success():
    async def test():
        async with scene() as s, aiohttp.ClientSession() as http:
            url = s.backend.url + "/chat/completions"
            await run_recipe(HttpRecipe(url, "POST", {"X-Key": "1"}, '{"script": {"echo": true}}'), http)
            assert s.backend.seen[-1].headers["X-Key"] == "1"
            await run_recipe(HttpRecipe(s.backend.url + "/models", "GET"), http)
            with pytest.raises(RecipeFailed, match="answered 500"):
                await run_recipe(HttpRecipe(url, "POST", {}, '{"script": {"status": 500}}'), http)
            with pytest.raises(RecipeFailed, match="no answer within 0.05 s"):
                await run_recipe(HttpRecipe(url, "POST", {}, '{"script": {"hang": "head"}}'), http, 0.05)
            with pytest.raises(RecipeFailed, match="failed"):
                await run_recipe(HttpRecipe("http://127.0.0.1:9/"), http)

    play(test())


def test_a_command_that_leaves_a_daemon_behind_does_not_hold_up_the_wake():
    daemon = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'])"
    began = time.monotonic()
    play(command(python(daemon)))
    assert time.monotonic() - began < 4


def test_a_command_beyond_its_time_is_killed_with_its_children(tmp_path):
    pipe = tmp_path / "pipe"  # its other end is open as long as the child lives
    os.mkfifo(pipe)
    child = f"import time; pipe = open({str(pipe)!r}, 'w'); pipe.write('x'); pipe.flush(); time.sleep(60)"
    parent = (
        "import subprocess, sys, time; print('working', flush=True); "
        f"subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    )

    async def test():
        with pytest.raises(RecipeFailed, match="ran longer than 1 s: working"):
            await command(python(parent, timeout_s=1))

    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        play(test())
        assert os.read(end, 1) == b"x"
        assert select.select([end], [], [], 5)[0]
        assert os.read(end, 1) == b""
    finally:
        os.close(end)


def test_a_command_that_does_not_exist_is_named():
    async def test():
        with pytest.raises(RecipeFailed, match="/no/such/command cannot be started"):
            await command(CommandRecipe("/no/such/command"))

    play(test())
