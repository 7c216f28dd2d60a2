"""The step ``command``: what succeeds, what fails and how it says so, and how it is ended."""

import asyncio
import os
import resource
import subprocess
import sys
import threading

import pytest

from publisher.config.values import Command
from publisher.failures import RecipeFailed
from publisher.recipes.command import run_command
from tests.publisher.recipes.programs import SLEEP, alive, child, command, failure_of, note_pid, noted
from tests.support.waiting import eventually


def test_exit_code_zero_is_success(play):
    play(run_command(command("pass")))


def test_an_end_by_a_signal_is_named(play):
    async def test():
        told = await failure_of(command("import os; print('so far', flush=True); os.kill(os.getpid(), 9)"))
        assert told.endswith("was ended by SIGKILL: so far")

    play(test())


def test_a_program_that_does_not_exist_is_named(play):
    async def test():
        assert "/no/such/command cannot be started: no such program" in await failure_of(Command("/no/such/command"))
        assert "no-such-command cannot be started: no such program" in await failure_of(Command("no-such-command"))

    play(test())


def test_a_file_that_is_not_executable_says_what_to_do(play, tmp_path):
    async def test():
        (tmp_path / "start.sh").write_text("#!/bin/sh\n")
        assert "make it executable (chmod +x)" in await failure_of(Command(str(tmp_path / "start.sh")))
        assert "make it executable" in await failure_of(Command(str(tmp_path)))
        (tmp_path / "noise").write_text("neither a script nor a program")
        (tmp_path / "noise").chmod(0o755)
        assert "cannot be started: not a program" in await failure_of(Command(str(tmp_path / "noise")))

    play(test())


def test_a_directory_that_does_not_exist_is_not_taken_for_a_missing_program(play, tmp_path):
    async def test():
        told = await failure_of(command("pass", directory=str(tmp_path / "gone")))
        assert told.endswith(f"its directory {tmp_path / 'gone'} does not exist: create it")

    play(test())


def test_it_runs_in_its_directory_with_our_environment_and_its_own(play, tmp_path, monkeypatch):
    monkeypatch.setenv("OURS", "1")

    async def test():
        code = "import os; open('here', 'w').write(os.environ['OURS'] + os.environ['ADDED'])"
        await run_command(command(code, env={"ADDED": "2"}, directory=str(tmp_path)))
        assert (tmp_path / "here").read_text() == "12"
        (tmp_path / "tool").write_text("#!/bin/sh\nexit 7\n")
        (tmp_path / "tool").chmod(0o755)
        assert "exit code 7" in await failure_of(Command("./tool", directory=str(tmp_path)))
        assert "exit code 7" in await failure_of(Command("tool", env={"PATH": str(tmp_path)}))

    play(test())


def test_no_secret_of_its_environment_or_arguments_is_in_a_message(play):
    async def test():
        step = Command("/no/such/command", ("--key", "s3cret"), env={"KEY": "s3cret"})
        assert "s3cret" not in await failure_of(step) + repr(step.env and Command("x", env=step.env))
        assert "s3cret" not in await failure_of(Command("true", ("s3cret\0",), env={"KEY": "s3cret"}))

    play(test())


def test_nothing_can_be_typed_into_it(play):
    play(run_command(command("import sys; raise SystemExit(len(sys.stdin.read()))")))


def test_a_command_beyond_its_limit_is_killed_with_its_children(play, tmp_path):
    async def test():
        code = f"print('working', flush=True)\n{child(note_pid(tmp_path / 'child') + SLEEP)}\n{SLEEP}"
        told = await failure_of(command(code, timeout_s=1.5))
        assert told.endswith("ran longer than 1.5 s: working")
        await eventually(lambda: not alive(noted(tmp_path / "child")))

    play(test())


def test_a_command_that_ignores_sigterm_is_ended_at_its_limit(play):
    async def test():
        code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
        assert "ran longer than 0.5 s" in await failure_of(command(code, timeout_s=0.5))

    play(test())


def test_a_cancelled_command_is_killed_with_its_children(play, tmp_path):
    async def test():
        parent, grown = tmp_path / "parent", tmp_path / "child"
        running = asyncio.create_task(run_command(command(child(note_pid(grown) + SLEEP) + note_pid(parent) + SLEEP)))
        await eventually(lambda: parent.exists() and grown.exists())
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled() and not alive(noted(parent))
        await eventually(lambda: not alive(noted(grown)))

    play(test())


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc or asks ps")
def test_a_command_cancelled_right_at_its_start_does_not_live_on(play):
    async def test():
        before = children()
        for turns in range(4):
            running = asyncio.create_task(run_command(command(SLEEP)))
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running])
        assert children() == before

    play(test())


def children() -> set[str]:
    ps = ["ps", "-o", "pid=,stat=,args=", "--ppid", str(os.getpid())]
    listed = subprocess.run(ps, capture_output=True, text=True)
    found = (line.split(None, 2) for line in listed.stdout.splitlines())
    # Not what each of them does just now: others of this test run may be among them.
    return {f"{pid} {command}" for pid, state, command in found if "Z" not in state and "ps -o" not in command}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc or asks ps")
def test_with_no_file_descriptor_left_it_fails_and_works_again_afterwards(play):
    async def test():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        open_now = len(os.listdir("/proc/self/fd"))
        for spare in range(10):
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + spare, hard))
            try:
                with pytest.raises(RecipeFailed, match="cannot be started"):
                    await run_command(Command("/bin/false-that-is-not-there"))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await eventually(lambda: len(os.listdir("/proc/self/fd")) <= open_now + 1)
        await run_command(command("pass"))

    play(test())


def test_with_no_thread_left_it_fails_and_leaves_nothing(play, monkeypatch):
    before = children()

    async def test():
        allowed = 0
        start = threading.Thread.start

        def limited(thread):
            nonlocal allowed
            if allowed == 0:
                raise RuntimeError("can't start new thread")
            allowed -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)
        for allowed in (0, 1):  # the thread that reads, then the one that waits
            assert "cannot be started: no more threads" in await failure_of(command(SLEEP))
        monkeypatch.undo()
        assert children() == before

    play(test())
