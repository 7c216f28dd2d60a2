"""What a person does at a running publisher: looks, wakes, puts to sleep, reads its logs, starts it by flags.

Every publisher is a process with a home of its own, and the broker is a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from pathlib import Path

import pytest

from scripts.ports import free_port
from tests.support.backend import Backend
from tests.support.engines import Ollama
from tests.support.home import entry, home, publishes
from tests.support.live import Stream, word
from tests.support.processes import ROOT, client
from tests.support.waiting import eventually

NATIVE = {"wake": {"type": "native"}, "sleep": {"type": "native"}}


@pytest.fixture
def user(stage):
    with home(stage) as made:
        yield made


async def until_row(user, name: str, **wanted: object) -> dict:
    """The row of that name in ``publisher status --json``, once those fields are so."""

    async def found() -> dict | None:
        rows = {row["name"]: row for row in (await user.status())["rows"]}
        return rows.get(name) if wanted.items() <= rows.get(name, {}).items() else None

    return await eventually(found, 15)


async def test_status_shows_brokers_and_rows_as_a_table_and_as_json(stage, user):
    broker = await stage.broker().ready()
    async with Ollama(["a"]) as engine, client(broker.url) as api:
        native = {"type": "ollama", "url": engine.url, "model": "a", **NATIVE}
        mine = {"name": "mine", "aliases": ["my"], "idleSeconds": 600, **native}
        user.write(broker.url, mine)
        await user.publisher().ready()
        table = await user.verb("status")
        assert table.code == 0 and not table.err
        assert broker.url in table.out and str(user.config) in table.out
        (line,) = [line for line in table.out.splitlines() if line.startswith("mine")]
        assert line.split()[:2] == ["mine", "hibernating"]

        assert (await api.chat("my"))[0] == 200
        told = await user.status()
        (row,), (at,) = told["rows"], told["brokers"]
        assert (row["state"], row["requests"], row["failed"], row["slots"]) == ("active", 1, 0, 1)
        assert 590 < row["sleepsInS"] <= 600 and row["wakes"] is True
        assert (at["url"], at["state"], at["session"]) == (broker.url, "open", (await api.llm("mine"))["providerSessionId"])
        assert told["config"] == str(user.config) and told["configError"] == ""


async def test_a_model_is_woken_and_put_to_sleep_by_hand_and_the_broker_hears_of_both(stage, user):
    broker = await stage.broker().ready()
    async with Ollama(["a"]) as engine, client(broker.url) as api:
        user.write(broker.url, {"type": "ollama", "url": engine.url, "model": "a", "name": "m", **NATIVE})
        await user.publisher().ready()
        assert (await api.llm("m"))["status"] == "hibernating"

        woken = await user.verb("wake", "m")
        assert woken.code == 0 and woken.out.startswith('"m" is awake'), woken
        assert engine.loaded == ["a"]
        await api.until_status("m", "active", 1)
        again = await user.verb("wake", "m", "--json")
        assert again.code == 0 and json.loads(again.out)["name"] == "m" and engine.loads == 1

        slept = await user.verb("sleep", "m")
        assert (slept.code, slept.out) == (0, '"m" is asleep\n'), slept
        assert engine.loaded == []
        assert (await api.llm("m"))["status"] == "hibernating"
        assert (await user.verb("sleep", "m")).code == 0


async def test_a_model_with_work_is_not_put_to_sleep_and_its_stream_goes_on(stage, user):
    broker = await stage.broker().ready()
    async with Ollama(["a"]) as engine, client(broker.url) as api:
        user.write(broker.url, {"type": "ollama", "url": engine.url, "model": "a", "name": "m", **NATIVE})
        await user.publisher().ready()
        async with Stream(api, "m", script={"tokens": 30, "delay_s": 0.1}) as stream:
            assert word(await stream.next()) == "tök€n0 "
            refused = await user.verb("sleep", "m")
            assert (refused.code, refused.out) == (1, "") and refused.err.startswith('publisher: "m" is not idle'), refused
            assert engine.loaded == ["a"] and (await api.llm("m"))["status"] == "active"
            payloads = await stream.rest()
        assert len(payloads) == 30 and payloads[-1] == "[DONE]"
        assert (await user.verb("sleep", "m")).code == 0
        assert engine.loaded == []


async def test_what_cannot_be_done_by_hand_is_refused_with_the_reason(stage, user):
    broker = await stage.broker().ready()
    async with Backend() as backend, Ollama(["a"]) as engine:
        native = {"type": "ollama", "url": engine.url, "model": "a", "name": "broken", **NATIVE}
        user.write(broker.url, entry(backend), native)
        await user.publisher().ready()
        engine.load_fails["a"] = 1
        for words, told in (
            (("wake", "nobody"), 'no LLM "nobody" is published here; published: "m", "broken"'),
            (("wake", "m"), '"m" has no wake recipe'),
            (("sleep", "m"), '"m" has no sleep recipe'),
            (("wake", "broken"), "out of memory"),
            (("logs", "m"), "its wake recipe runs no process"),
        ):
            refused = await user.verb(*words)
            assert refused.code == 1 and told in refused.err and refused.out == "", (words, refused)
            assert len(refused.err.splitlines()) == 1
        row = await until_row(user, "broken", state="hibernating")
        assert "out of memory" in row["lastError"]


@pytest.mark.limit_s(90)
async def test_logs_are_the_publisher_s_own_or_those_of_the_server_that_it_runs(stage, user):
    broker = await stage.broker().ready()
    port = free_port()
    args = ["-m", "tests.support.engines", "llamacpp", "--port", str(port), "--models", "m"]
    wake = {"type": "process", "command": sys.executable, "args": args, "directory": str(ROOT)}
    user.write(broker.url, {"name": "m", "type": "llamacpp", "url": f"http://127.0.0.1:{port}", "wake": wake})
    await user.publisher().ready()
    assert (await user.verb("wake", "m")).code == 0
    own = await user.verb("logs")
    assert own.code == 0 and 'waking "m"' in own.out and '"m" is awake after' in own.out
    last = await user.verb("logs", "-n", "1")
    assert last.code == 0 and len(last.out.splitlines()) == 1
    its = await user.verb("logs", "m")
    assert its.code == 0 and f"llamacpp at http://127.0.0.1:{port}" in its.out
    row = await until_row(user, "m", state="active")
    assert Path(row["logFile"]).is_relative_to(user.folder)

    async with user.typing("logs", "-f") as following:
        await until_line(following, b'"m" is awake after')
        assert (await user.verb("sleep", "m")).code == 0
        await until_line(following, b'"m" is asleep')


async def until_line(program: asyncio.subprocess.Process, words: bytes) -> None:
    async with asyncio.timeout(20):
        while words not in (line := await program.stdout.readline()):
            assert line, "it ended"


async def test_without_a_publisher_the_verbs_say_so(user):
    for words in (("status",), ("wake", "m"), ("sleep", "m"), ("reload",), ("logs",)):
        refused = await user.verb(*words)
        assert refused.code == 1 and "no publisher runs here: start one with publisher run" in refused.err


# ── without a config file ───────────────────────────────────────────────────


async def test_every_model_of_a_server_is_published_by_flags_alone(stage, user):
    broker = await stage.broker().ready()
    async with Ollama(["qwen3:latest", "llama3:8b"]) as engine, client(broker.url) as api:
        words = ("--broker", broker.url, "--type", "ollama", "--model", "*", "--backend", engine.url)
        await user.publisher(*words).ready()
        assert await publishes(api, {"qwen3", "llama3:8b"})
        for name, model in (("qwen3", "qwen3:latest"), ("llama3:8b", "llama3:8b"), ("qwen3:latest", "qwen3:latest")):
            status, answer, _ = await api.chat(name)
            assert (status, answer["model"]) == (200, model), answer
        told = await user.status()
        assert told["config"] == "" and {row["state"] for row in told["rows"]} == {"active"}


async def test_a_type_alone_means_its_usual_address(stage, user):
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", 11434)) == 0:
            pytest.skip("an Ollama of somebody's own runs on this machine")
    broker = await stage.broker().ready()
    async with Ollama(["a"], port=11434), client(broker.url) as api:
        await user.publisher("--broker", broker.url, "--type", "ollama", "--model", "*").ready()
        assert await publishes(api, {"a"}) and (await api.chat("a"))[0] == 200
