"""Recipes that hang, fork, flood, fail, or succeed for nothing, while another model goes on."""

from __future__ import annotations

import os
import sys

import pytest

from publisher.config.values import Command, Http, Process, Recipe
from tests.publisher.faults.side_by_side import WHOLE, side_by_side
from tests.publisher.recipes.programs import PYTHON, alive, child, command, note_pid, noted, server
from tests.publisher.running import play
from tests.support.broken_backend import BrokenBackend, Talk, nobody
from tests.support.waiting import eventually

posix = pytest.mark.skipif(sys.platform == "win32", reason="looks at process ids")
SLEEPS = "import time; time.sleep(600)\n"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def wake_fails(s, limit_s: float = 20.0) -> str:
    """The reason, which the wake and a request that waits for it both get."""
    wake = await s.broker.order("wake", "broken")
    await s.the_other_answers()
    await s.broker.ended(wake, limit_s)
    assert wake.last["code"] == "wake_failed" and s.row.state == "hibernating"
    assert "\n" not in wake.last["error"]
    await s.the_other_answers()
    return wake.last["error"]


@posix
def test_a_recipe_that_hangs_is_ended_with_its_children(tmp_path):
    async def test():
        file = tmp_path / "child"
        recipe = Recipe((command(child(note_pid(file) + SLEEPS) + SLEEPS, timeout_s=0.7),))
        async with side_by_side(nobody(), wake=recipe, max_wait_s=1) as s:
            assert "ran longer than 0.7 s" in await wake_fails(s)
            await eventually(lambda: file.exists() and not alive(noted(file)))

    play(test())


@posix
def test_a_recipe_that_hangs_does_not_outlive_the_publisher(tmp_path):
    async def test():
        file = tmp_path / "pid"
        recipe = Recipe((command(note_pid(file) + SLEEPS),))
        async with side_by_side(nobody(), wake=recipe, wait_ready=False, timers={"drain_s": 0.1}) as s:
            await s.broker.ready()
            wake = await s.broker.order("wake", "broken")
            await eventually(file.exists)
            assert await _stopped(s) == 0
            assert wake.last["code"] == "publisher_offline"
        await eventually(lambda: not alive(noted(file)))

    play(test())


async def _stopped(s) -> int:
    s.publisher.stop()
    return await s.running


@posix
def test_a_recipe_that_leaves_a_daemon_behind_is_not_waited_for_and_the_daemon_stays(tmp_path):
    async def test():
        file = tmp_path / "daemon"
        recipe = Recipe((command(child(note_pid(file) + "print('still here', flush=True)\n" + SLEEPS), timeout_s=20),))
        async with side_by_side(nobody(), wake=recipe, max_wait_s=0.3) as s:
            assert "did not answer within 0.3 s" in await wake_fails(s, 8)
            await eventually(file.exists)
        try:
            assert alive(noted(file))
        finally:
            os.kill(noted(file), 9)

    play(test())


def test_a_recipe_that_floods_its_output_fails_with_its_last_words_alone():
    async def test():
        flood = "import sys\nfor _ in range(300): sys.stdout.write('x' * 65536 + '\\n')\nprint('the end'); sys.exit(3)"
        async with side_by_side(nobody(), wake=Recipe((command(flood),)), max_wait_s=1) as s:
            said = await wake_fails(s)
            assert "ended with exit code 3" in said and said.endswith("the end") and len(said) < 10_000

    play(test())


def test_a_recipe_that_prints_no_text_fails_with_something_that_can_be_sent():
    async def test():
        noise = r"import os, sys; os.write(2, bytes(range(256)) + b'\x1b]0;title\x07\xff\n'); sys.exit(1)"
        async with side_by_side(nobody(), wake=Recipe((command(noise),)), max_wait_s=1) as s:
            said = await wake_fails(s)
            assert "exit code 1" in said and "\x1b" not in said

    play(test())


def test_a_recipe_that_succeeds_while_the_server_never_comes_up_is_a_failed_wake():
    async def test():
        async with side_by_side(nobody(), wake=Recipe((command("pass"),)), max_wait_s=0.2) as s:
            assert "did not answer within 0.2 s after its wake recipe" in await wake_fails(s)
            assert "did not answer" in await s.fails(WHOLE)

    play(test())


@posix
def test_a_server_that_never_comes_up_is_ended_again(tmp_path):
    async def test():
        file = tmp_path / "pid"
        recipe = Recipe((server(note_pid(file) + SLEEPS, grace_s=1),))
        async with side_by_side(nobody(), wake=recipe, max_wait_s=0.7) as s:
            assert "did not answer within 0.7 s" in await wake_fails(s)
            await eventually(lambda: not alive(noted(file)))

    play(test())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a file that is always full")
def test_a_full_disk_costs_the_log_of_a_server_and_not_the_server(tmp_path, log_lines):
    async def test():
        file = tmp_path / "pid"
        recipe = Recipe((server(note_pid(file) + "print('x' * 100000, flush=True)\n" + SLEEPS, grace_s=1, log_file="/dev/full"),))
        async with side_by_side(nobody(), wake=recipe, max_wait_s=0.7) as s:
            wake = await s.broker.order("wake", "broken")
            await eventually(lambda: file.exists() and any("/dev/full cannot be written" in line for line in log_lines))
            assert alive(noted(file))
            await s.the_other_answers()
            await s.broker.ended(wake)

    play(test())
    assert sum("/dev/full cannot be written" in line for line in log_lines) == 1


def test_a_server_that_ends_at_once_fails_the_wake_with_its_words_and_is_not_started_for_ever():
    async def test():
        recipe = Recipe((server("import sys; sys.exit('no such model: qwen')"),))
        async with side_by_side(nobody(), wake=recipe, max_wait_s=20) as s:
            said = await wake_fails(s, 5)
            assert "exit code 1" in said and "no such model: qwen" in said

    play(test())


SECRETS = {"LLM_KEY": "sk-in-the-environment"}


@pytest.mark.parametrize(
    "step",
    [
        command("import sys; sys.exit(1)", env=SECRETS),
        Command("/no/such/program", ("--key", "sk-in-an-argument"), env=SECRETS),
        Command(PYTHON, ("-c", "import sys; sys.exit(2)", "sk-in-an-argument"), env=SECRETS),
        command(SLEEPS, env=SECRETS, timeout_s=0.2),
        Command(PYTHON, ("-c", "pass"), env={"BAD=NAME": "sk-in-the-environment"}),
        Command(PYTHON, ("-c", "pass\0sk-in-an-argument")),
        Command(PYTHON, ("-c", "pass"), directory="/no/such/directory", env=SECRETS),
        Process("/no/such/program", ("--key", "sk-in-an-argument"), env=SECRETS),
        Process(PYTHON, ("-c", "import sys; sys.exit(1)", "sk-in-an-argument"), env=SECRETS),
        Http("http://user:sk-in-a-url@127.0.0.1:1/wake?key=sk-in-a-url", headers={"X-Key": "sk-in-a-header"}, body="sk-in-a-body"),
        Http("http://127.0.0.1:1/", headers={"X-Key": "sk-in-a-header\r\nX: y"}),
        Http("http://127.0.0.1:99999/?key=sk-in-a-url"),
    ],
    ids=lambda step: type(step).__name__,
)
def test_a_recipe_that_fails_keeps_its_secrets(step, log_lines):
    async def test():
        async with side_by_side(nobody(), wake=Recipe((step,)), max_wait_s=0.5) as s:
            assert "sk-in" not in await wake_fails(s)
            assert "sk-in" not in s.row.last_error

    play(test())
    assert not any("sk-in" in line for line in log_lines)


async def refuses(talk: Talk) -> None:
    await talk.write(b"HTTP/1.1 302 Found\r\nLocation: http://login.example/?k=sk-in-a-query\r\nContent-Length: 0\r\n\r\n")


async def breaks(talk: Talk) -> None:
    await talk.write(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize("way", [refuses, breaks])
def test_a_wake_by_http_that_is_answered_with_nonsense_is_a_failed_wake(way):
    async def test():
        async with BrokenBackend(way) as waker:
            async with side_by_side(nobody(), wake=Recipe((Http(waker.url),)), max_wait_s=0.5) as s:
                said = await wake_fails(s)
                assert "POST http://127.0.0.1" in said and "sk-in" not in said

    play(test())


def test_a_request_that_waits_for_a_wake_that_hangs_ends_at_its_deadline_and_the_next_has_its_chance():
    async def test():
        async with side_by_side(nobody(), wake=Recipe((command(SLEEPS, timeout_s=1.5),)), max_wait_s=0.3) as s:
            told = await s.ends(WHOLE, deadlineMs=200)
            assert told.last["code"] == "deadline"
            await s.the_other_answers()
            assert "ran longer than 1.5 s" in await s.fails(WHOLE)

    play(test())
