"""One tool server at a publisher, with a real program behind it: started by a call, bounded, stopped with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import replace

import pytest

from publisher.tools.failed import ToolFailed
from publisher.tools import connection, process, tool_server
from tests.publisher.running import play
from tests.publisher.tools.serving import LIST, ask, call, lives, notes, program, said, serving
from tests.support.waiting import eventually


async def started(server) -> None:
    """Also when that takes longer than a call may."""
    with contextlib.suppress(ToolFailed):
        await ask(server, LIST)
    await eventually(lambda: server.state == "active", limit_s=20)


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_nothing_is_started_before_the_first_call_and_one_start_serves_all(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            assert server.state == "hibernating" and notes(tmp_path, "starts") == []
            sums = await asyncio.gather(*(said(server, "add", a=n, b=1) for n in range(5)))
            assert sums == ["1", "2", "3", "4", "5"] and len(notes(tmp_path, "starts")) == 1
            assert server.state == "active"

    play(test())


def test_the_list_is_the_servers_own_with_nulls_as_they_are(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            tools = {tool["name"]: tool for tool in (await ask(server, LIST))["tools"]}
            assert tools["add"]["description"] == "The sum of two numbers."
            assert tools["add"]["inputSchema"]["required"] == ["a", "b"]

    play(test())


def test_a_tool_that_fails_and_one_that_there_is_not_are_results_with_is_error(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            failed = await ask(server, call("fail"))
            assert failed["isError"] is True and "tool fail" in failed["content"][0]["text"]
            assert (await ask(server, call("nothing")))["isError"] is True
            assert (await ask(server, call("add", a=[], b="x")))["isError"] is True

    play(test())


@pytest.mark.parametrize(
    "request_", [b"", b"[]", b'{"method": "prompts/list"}', b'{"method": "tools/call"}', b'{"method": 5}', b"[" * 5000,
                 b'{"method": "tools/call", "params": {"name": "add", "arguments": [1]}}', b'{"method": "tools/call", "params": {"name": ""}}']
)
def test_what_is_no_request_is_refused_and_starts_nothing(tmp_path, request_):
    async def test():
        async with serving(program(tmp_path)) as server:
            with pytest.raises(ToolFailed) as told:
                await server.answer(request_)
            assert told.value.status == 400 and str(told.value).startswith('the tool server "files" ')
            assert notes(tmp_path, "starts") == []

    play(test())


@pytest.mark.parametrize("with_signal", [False, True])
def test_one_that_dies_in_a_call_fails_that_call_and_the_next_one_starts_it_again(tmp_path, caplog, with_signal):
    async def test():
        async with serving(program(tmp_path)) as server:
            with pytest.raises(ToolFailed) as told:
                await said(server, "die", word="last words", with_signal=with_signal)
            assert told.value.status == 502
            assert str(told.value) == 'the tool server "files" ended before it answered: see the log of its publisher'
            assert await said(server, "add", a=1, b=1) == "2" and len(notes(tmp_path, "starts")) == 2

    play(test())
    how = "was ended by SIGKILL" if with_signal else "ended with exit code 3"
    assert f"{how}: last words" in caplog.text


def test_one_that_dies_while_idle_is_started_again_by_the_next_call(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            await ask(server, LIST)
            os.kill(int(notes(tmp_path, "starts")[0]), signal.SIGKILL)
            await eventually(lambda: server.state == "hibernating")
            assert await said(server, "add", a=1, b=1) == "2"

    play(test())


def test_it_is_stopped_when_nobody_asked_for_a_while_and_started_again(tmp_path):
    async def test():
        async with serving(program(tmp_path, idle_s=0.2)) as server:
            await ask(server, LIST)
            pid = notes(tmp_path, "starts")[0]
            assert lives(pid) and server.stops_in_s is not None
            await eventually(lambda: server.state == "hibernating" and not lives(pid))
            assert await said(server, "add", a=1, b=1) == "2"

    play(test())


def test_a_call_that_takes_longer_than_idle_is_not_disturbed(tmp_path):
    async def test():
        async with serving(program(tmp_path, idle_s=0.05)) as server:
            assert await said(server, "wait", seconds=0.4) == "waited" and len(notes(tmp_path, "starts")) == 1

    play(test())


def test_stopping_ends_the_process_and_what_it_started(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            child = await said(server, "child")
            pid = notes(tmp_path, "starts")[0]
            assert lives(child) and lives(pid)
        assert not lives(pid)
        await eventually(lambda: not lives(child))

    play(test())


def test_a_call_that_takes_too_long_says_so_and_others_go_on(tmp_path):
    async def test():
        async with serving(program(tmp_path, timeout_s=1.5)) as server:
            await started(server)
            with pytest.raises(ToolFailed) as told:
                await said(server, "wait", seconds=30)
            assert told.value.status == 504 and str(told.value) == 'the tool server "files" did not answer within 1.5 s'
            assert await said(server, "add", a=1, b=1) == "2" and len(notes(tmp_path, "starts")) == 1

    play(test())


def test_a_cancelled_call_is_taken_back_at_the_server(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            waiting = asyncio.create_task(said(server, "wait", seconds=0.3))
            await eventually(lambda: notes(tmp_path, "began"))
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            assert await said(server, "wait", seconds=0.6) == "waited"
            assert notes(tmp_path, "done") == ["0.6"] and len(notes(tmp_path, "starts")) == 1

    play(test())


def test_one_that_hangs_is_ended_when_its_call_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tool_server, "LOOK_S", 0.3)
    monkeypatch.setattr(connection, "GRACE_S", 0.2)

    async def test():
        async with serving(program(tmp_path)) as server:
            hanging = asyncio.create_task(said(server, "hang"))
            await eventually(lambda: notes(tmp_path, "began"))
            pid = notes(tmp_path, "starts")[0]
            hanging.cancel()
            await eventually(lambda: not lives(pid))
            assert await said(server, "add", a=1, b=1) == "2"

    play(test())


def test_a_quick_cancel_leaves_it_running(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            await ask(server, LIST)
            waiting = asyncio.create_task(said(server, "wait", seconds=30))
            await eventually(lambda: notes(tmp_path, "began"))
            waiting.cancel()
            await asyncio.wait([waiting])
            assert await said(server, "add", a=1, b=1) == "2" and len(notes(tmp_path, "starts")) == 1

    play(test())


def test_who_stops_waiting_for_the_start_does_not_stop_it(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            first = asyncio.create_task(ask(server, LIST))
            await eventually(lambda: notes(tmp_path, "starts"))
            first.cancel()
            assert await said(server, "add", a=1, b=1) == "2" and len(notes(tmp_path, "starts")) == 1

    play(test())


def test_an_answer_that_is_too_large_ends_it_and_memory_is_bounded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(connection, "MOST_BYTES", 1 << 20)

    async def test():
        async with serving(program(tmp_path)) as server:
            assert len(await said(server, "letters", count=900_000)) == 900_000
            with pytest.raises(ToolFailed) as told:
                await said(server, "letters", count=2_000_000)
            assert told.value.status == 502
            assert str(told.value) == 'the tool server "files" answered more than 1 MiB and was stopped: ask for less at a time'
            assert await said(server, "add", a=1, b=1) == "2"

    play(test())
    assert "sent a message larger than 1 MiB" in caplog.text


def test_one_that_asks_without_end_and_reads_nothing_is_ended_and_memory_is_bounded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(process, "WAITING_BYTES", 1 << 20)
    asks = """
import json, sys
hello = json.loads(sys.stdin.readline())
result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
print(json.dumps({"jsonrpc": "2.0", "id": hello["id"], "result": result}), flush=True)
while True:
    print(json.dumps({"jsonrpc": "2.0", "id": "x" * 9000, "method": "ping"}), flush=True)
"""

    async def test():
        async with serving(replace(program(tmp_path), args=("-c", asks))) as server:
            with pytest.raises(ToolFailed, match="reads nothing of what it is told and was stopped") as told:
                await ask(server, LIST)
            assert told.value.status == 502
            await eventually(lambda: server.state == "hibernating")

    play(test())
    assert 'tool server "files" reads nothing of what it is told' in caplog.text


def test_what_is_no_message_is_passed_over(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            assert await said(server, "chatter") == "said" and await said(server, "add", a=1, b=1) == "2"

    play(test())


def test_its_environment_is_the_usual_and_what_is_configured(tmp_path, monkeypatch):
    monkeypatch.setenv("BROKER_TOKEN", "secret")
    told = program(tmp_path)
    told.env["SEARCH_KEY"] = "k3y"

    async def test():
        async with serving(told) as server:
            assert await said(server, "variable", name="SEARCH_KEY") == "k3y"
            assert await said(server, "variable", name="PATH") == os.environ["PATH"]
            assert await said(server, "variable", name="BROKER_TOKEN") == "(not set)"

    play(test())


def test_what_it_prints_goes_to_a_file_of_its_own_and_never_to_callers_or_the_log(tmp_path, caplog):
    async def test():
        told = program(tmp_path)
        told.env["SEARCH_KEY"] = "k3y-k3y"
        async with serving(told) as server:
            with pytest.raises(ToolFailed) as failed:
                await said(server, "die", word="with k3y-k3y")
            assert "with" not in str(failed.value)
        assert "with k3y-k3y" in server.log_file.read_text()

    play(test())
    assert "k3y-k3y" not in caplog.text


@pytest.mark.parametrize(
    ("change", "logged"),
    [
        ({"command": "/no/such/program"}, "no such program"), ({"directory": "/no/such/folder"}, "does not exist"),
        ({"args": ("-c", "raise SystemExit(7)")}, "exit code 7"), ({"args": ("-c", "print('hello')")}, "exit code 0"),
    ],
)
def test_one_that_does_not_start_is_said_to_callers_in_general_and_in_the_log_exactly(tmp_path, caplog, change, logged):
    async def test():
        async with serving(replace(program(tmp_path), **change)) as server:
            with pytest.raises(ToolFailed) as told:
                await ask(server, LIST)
            assert told.value.status == 502 and "see the log of its publisher" in str(told.value)
            assert server.state == "hibernating"

    play(test())
    assert logged in caplog.text


def test_one_that_never_speaks_is_given_up_and_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "GRACE_S", 0.2)
    silent = f"import os,time; open({str(tmp_path / 'starts')!r},'a').write(str(os.getpid())); time.sleep(600)"

    async def test():
        async with serving(replace(program(tmp_path), args=("-c", silent)), start_s=0.5) as server:
            with pytest.raises(ToolFailed, match="did not begin to speak MCP within 0.5 s"):
                await ask(server, LIST)
            assert not lives(notes(tmp_path, "starts")[0])

    play(test())


def test_stopping_during_the_start_ends_it(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            asking = asyncio.create_task(ask(server, LIST))
            await eventually(lambda: notes(tmp_path, "starts"))
            await server.stop()
            with pytest.raises(ToolFailed, match="is stopped"):
                await asking
            assert not lives(notes(tmp_path, "starts")[0])

    play(test())


def test_retiring_waits_for_what_runs(tmp_path):
    async def test():
        async with serving(program(tmp_path)) as server:
            waiting = asyncio.create_task(said(server, "wait", seconds=0.4))
            await eventually(lambda: notes(tmp_path, "began"))
            await server.retire()
            assert await waiting == "waited"

    play(test())


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_one_that_heeds_no_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "GRACE_S", 0.2)

    async def test():
        async with serving(program(tmp_path)) as server:
            await ask(server, LIST)
            pid = int(notes(tmp_path, "starts")[0])
            os.kill(pid, signal.SIGSTOP)
        assert not lives(pid)

    play(test())
