"""The publisher with standard files that are closed, or that nobody reads."""

from __future__ import annotations

import contextlib
import json
import os
import sys

import pytest

from tests.publisher.faults.process import publisher
from tests.publisher.running import play

if sys.platform == "win32":
    pytest.skip("files as POSIX has them", allow_module_level=True)

import fcntl  # noqa: E402



@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_publisher_lives_with_standard_files_closed(tmp_path, closed):
    async def test():
        async with publisher(tmp_path, through=f'exec "$@" {closed}') as run:
            await run.serves()

    play(test())


def test_a_recipe_s_server_runs_while_all_standard_files_are_closed(tmp_path):
    async def test():
        config = tmp_path / "p.json"
        file = tmp_path / "started"
        code = f"open({str(file)!r}, 'w').close(); print('hello', flush=True); import time; time.sleep(60)"
        config.write_text(json.dumps({"providers": [
            {"name": "asleep", "publish": True, "url": "http://127.0.0.1:1/v1",
             "wake": {"type": "process", "command": sys.executable, "args": ["-c", code], "maxWaitSeconds": 0.5}}]}))
        async with publisher(tmp_path, "--config", str(config), through='exec "$@" <&- >&- 2>&-') as run:
            await run.is_ready()
            wake = await run.broker.ended(await run.broker.order("wake", "asleep"))
            assert "did not answer within 0.5 s" in wake.last["error"] and file.exists()
        logs = list((tmp_path / "home").rglob("*.log"))
        assert len(logs) == 1 and "hello" in logs[0].read_text()

    play(test())


def test_a_reader_of_the_log_that_goes_away_costs_the_log_only(tmp_path):
    async def test():
        read_end, write_end = os.pipe()
        async with publisher(tmp_path, stderr=write_end) as run:
            os.close(write_end)
            await run.is_ready()
            os.close(read_end)
            for number in range(2, 5):
                await run.broker.drop_channel()
                await run.broker.until(lambda: run.broker.channels == number)
            await run.serves()

    play(test())


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="needs a small pipe")
def test_a_reader_of_the_log_that_does_not_read_holds_up_nothing(tmp_path):
    async def test():
        read_end, write_end = os.pipe()
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(write_end, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write_end, b"x" * 64)
        os.set_blocking(write_end, True)
        async with publisher(tmp_path, stderr=write_end) as run:
            os.close(write_end)
            try:
                await run.serves()
                await run.stops()
            finally:
                os.close(read_end)

    play(test())
