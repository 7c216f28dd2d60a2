"""The end of a server: with all its children, in good order if it can, and never later than the publisher's."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from publisher.recipes.server_process import ServerProcess
from tests.publisher.recipes.programs import DEAF, SLEEP, alive, child, note_pid, noted, process_of, server
from tests.support.waiting import eventually


def test_one_that_ignores_sigterm_is_killed_after_its_grace(play, tmp_path):
    async def test():
        code = DEAF + note_pid(tmp_path / "pid") + SLEEP
        async with process_of(server(code, grace_s=0.3), tmp_path) as process:
            await process.start()
            pid = await eventually(lambda: noted(tmp_path / "pid"))
            began = time.monotonic()
            await process.stop()
            assert 0.3 <= time.monotonic() - began < 5 and not alive(pid)

    play(test())


def test_one_that_needs_its_grace_to_end_in_good_order_gets_it(play, tmp_path):
    async def test():
        code = (
            "import signal, sys, time\n"
            "def end(*_): time.sleep(0.3); print('saved', flush=True); sys.exit()\n"
            f"signal.signal(signal.SIGTERM, end)\n{note_pid(tmp_path / 'pid')}{SLEEP}"
        )
        async with process_of(server(code), tmp_path) as process:
            await process.start()
            await eventually(lambda: noted(tmp_path / "pid"))
            await process.stop()
            assert (tmp_path / "server.log").read_text().endswith("saved\n")

    play(test())


@pytest.mark.parametrize("kind", ["willing", "deaf"])
def test_grandchildren_are_ended_with_it_even_when_they_outlive_it(play, tmp_path, kind):
    async def test():
        below = child(("" if kind == "willing" else DEAF) + note_pid(tmp_path / "below") + SLEEP)
        async with process_of(server(below + SLEEP, grace_s=0.5), tmp_path) as process:
            await process.start()
            pid = await eventually(lambda: noted(tmp_path / "below"))
            await process.stop()
            await eventually(lambda: not alive(pid))

    play(test())


def test_a_child_that_left_the_group_and_holds_the_output_open_does_not_hold_up_the_stop(play, tmp_path):
    async def test():
        away = f"import os, sys; os.setsid()\n{note_pid(tmp_path / 'away')}{SLEEP}"
        async with process_of(server(child(away) + SLEEP), tmp_path) as process:
            await process.start()
            pid = await eventually(lambda: noted(tmp_path / "away"))
            began = time.monotonic()
            await process.stop()
            assert time.monotonic() - began < 5 and alive(pid)
            os.kill(pid, 9)

    play(test())


@contextlib.contextmanager
def publisher_of(code: str, folder):
    """A publisher in a process of its own that runs this server; killed at the end."""
    publisher = textwrap.dedent(f"""
        import asyncio, pathlib
        from publisher.recipes.server_process import ServerProcess
        from tests.publisher.recipes.programs import DEAF, SLEEP, server
        async def live():
            step = server({code!r}, grace_s=0.5)
            await ServerProcess(step, "qwen", pathlib.Path({str(folder / 'server.log')!r})).start()
            await asyncio.Event().wait()
        asyncio.run(live())
    """)
    with subprocess.Popen([sys.executable, "-c", publisher]) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("kind", ["willing", "deaf"])
async def test_it_does_not_outlive_a_publisher_that_was_killed(tmp_path, kind):
    code = ("" if kind == "willing" else DEAF) + child(note_pid(tmp_path / "below") + SLEEP)
    code += note_pid(tmp_path / "pid") + SLEEP
    with publisher_of(code, tmp_path):
        pids = [await eventually(lambda: noted(tmp_path / which), 15) for which in ("pid", "below")]
    await eventually(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
async def test_it_does_not_outlive_publisher_and_leash_killed_together(tmp_path):
    code = f"import os, pathlib; pathlib.Path({str(tmp_path / 'leash')!r}).write_text(str(os.getppid()))\n"
    with publisher_of(code + note_pid(tmp_path / "pid") + SLEEP, tmp_path) as publisher:
        pid = await eventually(lambda: noted(tmp_path / "pid"), 15)
        publisher.send_signal(signal.SIGSTOP)  # so that it cannot do its part
        os.kill(noted(tmp_path / "leash"), signal.SIGKILL)
        await eventually(lambda: not alive(pid))


def test_a_publisher_that_ends_without_a_stop_leaves_no_server(tmp_path):
    pid = tmp_path / "pid"

    async def forgetful():
        process = ServerProcess(server(note_pid(pid) + SLEEP), "qwen", tmp_path / "server.log")
        await process.start()
        await eventually(pid.exists)

    asyncio.run(forgetful())
    asyncio.run(eventually(lambda: not alive(noted(pid))))
