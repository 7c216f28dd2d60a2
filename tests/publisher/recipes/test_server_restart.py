"""A server that ends by itself: what is told of it, and when it is started again."""

import asyncio
import logging
import os
import re
import sys
import time

import pytest

from publisher.config.values import Process
from publisher.failures import RecipeFailed
from tests.publisher.recipes.programs import SLEEP, alive, child, note_pid, noted, process_of, said, server
from tests.support.waiting import eventually


def test_one_that_exits_at_once_tells_its_exit_code_and_last_lines(play, tmp_path, caplog):
    async def test():
        exits = []
        code = "print('loading'); print('CUDA out of memory'); raise SystemExit(3)"
        async with process_of(server(code), tmp_path, restart_first_s=60) as process:
            process.on_exit = lambda: exits.append(process.died)
            await process.start()
            told = await eventually(lambda: process.died)
            assert told.endswith("ended with exit code 3: loading / CUDA out of memory")
            await eventually(lambda: exits == [told])
            assert not process.running and process.pid is None

    with caplog.at_level(logging.INFO, "publisher"):
        play(test())
    [line] = said(caplog)
    assert line.startswith('"qwen": ') and line.endswith(
        "ended with exit code 3: CUDA out of memory; starting it again in 60 s"
    )


def test_one_that_exits_after_a_while_is_started_again(play, tmp_path):
    async def test():
        code = note_pid(tmp_path / "pid") + SLEEP
        async with process_of(server(code), tmp_path, restart_first_s=0.01) as process:
            await process.start()
            for restarts in (1, 2):
                pid = await eventually(lambda: noted(tmp_path / "pid"))
                (tmp_path / "pid").unlink()
                os.kill(pid, 9)
                await eventually(lambda: process.restarts == restarts and process.running)
                assert "was ended by SIGKILL" in process.died
        assert (tmp_path / "server.log").read_text().count("====\n") == 3

    play(test())


def test_restarts_come_ever_later_up_to_a_limit(play, tmp_path, caplog):
    async def test():
        async with process_of(server("pass"), tmp_path, restart_first_s=0.02, restart_most_s=0.08) as process:
            await process.start()
            await eventually(lambda: process.restarts >= 4, 15)

    play(test())
    pauses = [re.search(r"again in ([\d.]+) s", line)[1] for line in said(caplog)]
    assert pauses[:4] == ["0.02", "0.04", "0.08", "0.08"]


def test_a_steady_run_makes_the_pause_short_again_and_forgets_why_it_died(play, tmp_path, caplog):
    async def test():
        times = {"restart_first_s": 0.02, "restart_most_s": 60, "steady_s": 0.3}
        async with process_of(server(note_pid(tmp_path / "pid") + SLEEP), tmp_path, **times) as process:
            await process.start()
            steady_at = time.monotonic() + 0.3
            await eventually(lambda: time.monotonic() > steady_at)
            for restarts in (1, 2):
                await eventually(lambda: process.running and process.died is None)
                os.kill(process.pid, 9)
                await eventually(lambda: process.restarts == restarts)
                assert process.died

    play(test())
    assert [re.search(r"again in ([\d.]+) s", line)[1] for line in said(caplog)] == ["0.02"] * 2


def test_a_start_does_not_wait_for_the_pause_before_a_restart(play, tmp_path):
    async def test():
        async with process_of(server(note_pid(tmp_path / "pid") + SLEEP), tmp_path, restart_first_s=600) as process:
            await process.start()
            os.kill(await eventually(lambda: noted(tmp_path / "pid")), 9)
            await eventually(lambda: process.died)
            await process.start()
            assert process.running and process.died is None and process.restarts == 1

    play(test())


def test_a_restart_that_cannot_start_is_tried_again_and_a_start_then_says_why(play, tmp_path):
    program = tmp_path / "server"

    def install():
        program.write_text("#!/bin/sh\nexec sleep 60\n")
        program.chmod(0o755)

    async def test():
        install()
        async with process_of(Process(str(program)), tmp_path, restart_first_s=0.05, restart_most_s=0.05) as process:
            await process.start()
            program.unlink()
            os.kill(process.pid, 9)
            await eventually(lambda: process.died and "no such program" in process.died)
            with pytest.raises(RecipeFailed, match="no such program"):
                await process.start()
            install()
            await eventually(lambda: process.running)

    play(test())


def test_after_a_stop_no_restart_follows(play, tmp_path):
    async def test():
        others = asyncio.all_tasks()
        async with process_of(server("pass"), tmp_path, restart_first_s=60) as process:
            await process.start()
            await eventually(lambda: process.died)
            await process.stop()
            assert process.died is None and process.restarts == 0
            # What could start it again is a task or a timer of this loop.
            assert asyncio.all_tasks() <= {asyncio.current_task(), *others}

    play(test())


def test_what_a_dead_server_leaves_behind_is_ended_before_the_restart(play, tmp_path):
    async def test():
        code = child(note_pid(tmp_path / "below") + SLEEP) + note_pid(tmp_path / "pid") + SLEEP
        async with process_of(server(code), tmp_path, restart_first_s=600) as process:
            await process.start()
            pid = await eventually(lambda: noted(tmp_path / "below"))
            os.kill(await eventually(lambda: noted(tmp_path / "pid")), 9)
            await eventually(lambda: process.died)
            assert not alive(pid)

    play(test())


def test_a_stop_while_it_is_started_again_ends_that_run_at_once(play, tmp_path):
    async def test():
        code = f"import os, sys; os.path.exists('ran') or sys.exit(open('ran', 'w').close())\n{SLEEP}"
        async with process_of(server(code, directory=str(tmp_path)), tmp_path, restart_first_s=0.0) as process:
            await process.start()
            while process.restarts == 0:
                await asyncio.sleep(0)
            assert not process.running
            began = time.monotonic()
            await process.stop()
            assert time.monotonic() - began < 5

    play(test())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the leash's death is noticed by the publisher only")
def test_when_the_leash_is_killed_its_server_ends_and_comes_back(play, tmp_path):
    async def test():
        code = note_pid(tmp_path / "pid") + "import os, time; open('leash', 'w').write(str(os.getppid()))\n" + SLEEP
        step = server(code, directory=str(tmp_path))
        async with process_of(step, tmp_path, restart_first_s=0.01) as process:
            await process.start()
            await eventually(lambda: (tmp_path / "leash").exists() and (tmp_path / "leash").read_text())
            first = noted(tmp_path / "pid")
            os.kill(int((tmp_path / "leash").read_text()), 9)
            await eventually(lambda: process.restarts == 1 and process.running and process.pid != first)
            assert not alive(first)

    play(test())
