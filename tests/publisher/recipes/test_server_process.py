"""The server that the publisher starts itself: started once, stopped at any moment."""

import asyncio
import re
import sys

import pytest

from publisher.config.values import Process
from publisher.failures import RecipeFailed
from tests.publisher.recipes.programs import DEAF, SLEEP, alive, note_pid, noted, process_of, server
from tests.support.waiting import eventually


def test_it_runs_until_it_is_stopped_and_its_output_is_kept(play, tmp_path):
    async def test():
        said = tmp_path / "server.log"
        async with process_of(server(f"print('listening', flush=True); {SLEEP}"), tmp_path) as process:
            assert not process.running
            await process.start()
            assert process.running and alive(process.pid)
            await eventually(lambda: "listening\n" in said.read_text())
            pid = process.pid
            await process.stop()
            assert not alive(pid) and process.died is None and process.restarts == 0
        header, line = said.read_text().splitlines()
        assert re.fullmatch(r"==== \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ starting python[\d.]* ====", header)
        assert line == "listening"
        if sys.platform != "win32":
            assert said.stat().st_mode & 0o777 == 0o600

    play(test())


def test_any_number_of_starts_are_one_start(play, tmp_path):
    async def test():
        async with process_of(server(SLEEP), tmp_path) as process:
            await asyncio.gather(*(process.start() for _ in range(5)))
            pid = process.pid
            await process.start()
            assert process.pid == pid
        assert (tmp_path / "server.log").read_text().count("====\n") == 1

    play(test())


def test_stops_are_idempotent_and_it_can_be_started_again(play, tmp_path):
    async def test():
        async with process_of(server(SLEEP), tmp_path) as process:
            await process.stop()
            await process.start()
            first = process.pid
            await asyncio.gather(process.stop(), process.stop())
            assert not alive(first)
            await process.start()
            assert process.pid != first and alive(process.pid)

    play(test())


def test_a_program_that_cannot_be_started_says_why_and_is_not_tried_again(play, tmp_path):
    (tmp_path / "plain").write_text("x")

    async def test():
        for step, why in (
            (Process("/no/such/server"), "/no/such/server cannot be started: no such program"),
            (Process(str(tmp_path / "plain")), "make it executable"),
            (server("pass", directory=str(tmp_path / "gone")), "gone does not exist: create it"),
            (server("pass", env={"A=B": "s3cret"}), "environment"),
        ):
            async with process_of(step, tmp_path, restart_first_s=0.01) as process:
                for _ in range(2):
                    with pytest.raises(RecipeFailed) as told:
                        await process.start()
                    assert why in str(told.value) and "s3cret" not in str(told.value)
                assert not process.running and process.restarts == 0

    play(test())


def test_concurrent_starts_of_what_cannot_start_are_all_told(play, tmp_path):
    async def test():
        async with process_of(Process("/no/such/server"), tmp_path) as process:
            told = await asyncio.gather(*(process.start() for _ in range(3)), return_exceptions=True)
            assert [type(one) for one in told] == [RecipeFailed] * 3

    play(test())


def test_a_stop_while_it_starts_leaves_nothing(play, tmp_path):
    async def test():
        for turns in (0, 1, 2, 5):
            async with process_of(server(note_pid(tmp_path / "pid") + SLEEP), tmp_path) as process:
                starting = asyncio.create_task(process.start())
                for _ in range(turns):
                    await asyncio.sleep(0)
                await asyncio.gather(process.stop(), starting, return_exceptions=True)
                await process.stop()
                assert not process.running
                assert not (tmp_path / "pid").exists() or not alive(noted(tmp_path / "pid"))

    play(test())


def test_a_cancelled_start_leaves_the_server_to_the_next_start_or_stop(play, tmp_path):
    async def test():
        async with process_of(server(SLEEP), tmp_path) as process:
            starting = asyncio.create_task(process.start())
            await asyncio.sleep(0)
            starting.cancel()
            await asyncio.wait([starting])
            await process.start()
            assert alive(process.pid)

    play(test())


def test_a_cancelled_stop_goes_on_and_the_next_start_waits_for_it(play, tmp_path):
    async def test():
        code = DEAF + note_pid(tmp_path / "pid") + SLEEP
        async with process_of(server(code, grace_s=0.5), tmp_path) as process:
            await process.start()
            first = await eventually(lambda: noted(tmp_path / "pid"))
            stopping = asyncio.create_task(process.stop())
            await asyncio.wait([stopping], timeout=0.05)
            stopping.cancel()
            await asyncio.wait([stopping])
            await process.start()
            assert not alive(first) and process.running and process.pid != first

    play(test())
