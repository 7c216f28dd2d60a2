"""``scripts/run``: the story is told, and nothing is left of it, however it ends."""

from __future__ import annotations

import re
import socket
import subprocess

import pytest

from scripts.ports import free_port
from tests.scripts.running import (
    SET_UP_S, assert_nothing_left_of, left_of, needs_proc, script, scripts,
)
from tests.support.processes import ROOT, client

pytestmark = [pytest.mark.timeout(SET_UP_S), pytest.mark.limit_s(90)]
STAYS = "Everything stays up until Ctrl-C"


async def test_once_tells_how_a_request_wakes_a_sleeping_llm(tmp_path):
    with scripts(tmp_path) as stage:
        run = script(stage, "run", "--once")
        assert await run.ended(50) == 0, run.log()
        sentences = [
            "A broker listens on http://127.0.0.1:", 'publishes the LLM "demo"', "no real LLM",
            "virtual and hibernating", "while the LLM is asleep", "You said: Good morning!", "11 tokens in",
            "active: the request woke it", "now that it is awake",
            "Nobody asks for 2 s.", "hibernating: the publisher has stopped its server",
        ]
        found = [run.log().find(sentence) for sentence in sentences]
        assert -1 not in found and found == sorted(found), run.log()
        assert STAYS not in run.log()
        assert "\033[" not in run.log()


@needs_proc
async def test_once_keeps_nothing(tmp_path):
    with scripts(tmp_path) as stage:
        run = script(stage, "run", "--once")
        assert await run.ended(50) == 0, run.log()
        assert_nothing_left_of(stage)
        assert [path.name for path in tmp_path.iterdir() if path.suffix != ".log"] == []


async def test_without_once_it_stays_up_and_serves_until_it_is_told_to_stop(tmp_path):
    with scripts(tmp_path) as stage:
        run = script(stage, "run", "--port", str(free_port()))
        await run.said(STAYS, 50)
        url = re.search(r"listens on (http://\S+),", run.log()).group(1)
        async with client(url) as asks:
            status, answer, _ = await asks.chat("demo", messages=[{"role": "user", "content": "one two three"}])
            assert (status, answer["choices"][0]["message"]["content"]) == (200, "You said: one two three")
            status, answer, _ = await asks.call("POST", "/v1/embeddings", {"model": "demo", "input": ["a", "b"]})
            assert (status, len(answer["data"])) == (200, 2)
            short = {"model": "demo", "prompt": "a b", "max_tokens": 1}
            status, answer, _ = await asks.call("POST", "/v1/completions", short)
            assert (status, answer["choices"][0]["finish_reason"]) == (200, "length")
        run.terminate()
        assert await run.ended() == 0
        assert "Everything is stopped." in run.log()


@needs_proc
async def test_a_second_run_beside_the_first_has_a_place_of_its_own(tmp_path):
    with scripts(tmp_path) as stage:
        first = script(stage, "run")
        await first.said(STAYS, 50)
        second = script(stage, "run")
        await second.said(STAYS, 50)
        assert "Data: " in first.log() and "Data: " not in second.log()
        for run in (first, second):
            run.terminate()
            assert await run.ended() == 0, run.log()
        assert_nothing_left_of(stage)


@needs_proc
async def test_a_killed_run_leaves_no_process_behind(tmp_path):
    with scripts(tmp_path) as stage:
        run = script(stage, "run")
        await run.said(STAYS, 50)
        url = re.search(r"listens on (http://\S+),", run.log()).group(1)
        async with client(url) as asks:
            await asks.chat("demo", messages=[{"role": "user", "content": "be there"}])
        assert any("backend.py" in line for line in left_of(stage))
        run.kill()
        assert_nothing_left_of(stage, 15)


async def test_a_part_that_fails_is_told_with_the_end_of_its_log(tmp_path):
    with scripts(tmp_path) as stage, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = script(stage, "run", "--once", "--port", str(port))
        assert await run.ended(50) == 1
        assert "the broker ended with exit code 1" in run.log()
        assert f"cannot listen on 127.0.0.1:{port}" in run.log()


def test_help_needs_no_set_up(tmp_path):
    """It works where there is nothing yet, not even a Python."""
    (tmp_path / "scripts").mkdir()
    copy = tmp_path / "scripts" / "run"
    copy.write_bytes((ROOT / "scripts" / "run").read_bytes())
    told = subprocess.run(["bash", copy, "--help"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("usage: scripts/run [--once]")
