"""The command line: precedence, errors on one line, exit codes, a real process from start to SIGTERM."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.publisher.running import play
from tests.support.backend import Backend
from tests.support.fake_broker import FakeBroker


@pytest.fixture
def home(tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "PUBLISHER_"))}
    return {**kept, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "XDG_STATE_HOME": str(tmp_path / "state")}


def run(env, *args):
    return subprocess.run([sys.executable, "-m", "publisher", *args], env=env, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize(
    "args, code, said",
    [
        (["run", "--backend", "http://127.0.0.1:1/v1", "--model", "m"], 2, "no broker: give --broker, BROKER_URL"),
        (["run", "--broker", "http://b", "--backend", "http://x/v1"], 2, "--backend needs --model"),
        (["run", "--broker", "http://b", "--model", "m"], 2, "belong to --backend"),
        (["run", "--broker", "b", "--backend", "http://x/v1", "--model", "m"], 2, "broker b: must be an address"),
        (["run", "--broker", "me:hush@b", "--backend", "http://x/v1", "--model", "m"], 2, "broker b: must be an address"),
        (["run", "--broker", "http://me:hush@b:1", "--backend", "http://x/v1", "--model", "m"], 2,
         "broker http://b:1: must hold no user and no password"),
        (["run", "--broker", "http://b/?hush", "--backend", "http://x/v1", "--model", "m"], 2,
         "broker http://b/: must end before the ?"),
        (["run", "--broker", "http://b:0", "--backend", "http://x/v1", "--model", "m"], 2,
         "broker http://b:0: is not an address that can be called"),
        (["run", "--broker", "http://b", "--backend", "me:hush@x:80", "--model", "m"], 2, "--backend x:80: must be an address"),
        (["run", "--broker", "http://b", "--backend", "http://me:hush@:x", "--model", "m"], 2, "must be an address"),
        (["check", "--broker", "me:hush@b"], 1, ""),
        (["detect", "--host", "me:hush@b"], 2, "b: must be a host's name or address"),
        (["run", "--config", "/no/such.json"], 2, "/no/such.json: cannot be read"),
    ],
)
def test_a_wrong_call_is_one_line_on_stderr(home, args, code, said):
    told = run(home, *args)
    assert told.returncode == code and said in told.stderr
    assert "hush" not in told.stdout + told.stderr
    if args[0] != "check":
        assert told.stdout == "" and len(told.stderr.splitlines()) == 1


def test_nothing_with_publish_true_is_said_with_the_file_s_name(home, tmp_path):
    path = tmp_path / "config" / "reveille" / "publisher.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"broker": "http://b", "providers": [{"name": "x", "url": "http://x/v1"}]}))
    told = run(home, "run")
    assert told.returncode == 1 and f"nothing in {path} has" in told.stderr


def test_the_version_and_the_help_are_there(home):
    assert "0." in run(home, "--version").stdout
    assert "--drain-seconds" in run(home, "run", "--help").stdout


def test_a_start_without_a_config_file_loads_neither_pydantic_nor_the_broker(home):
    code = ("import sys, publisher.cli.run, publisher.life; "
            "print([m for m in sys.modules if m in ('pydantic', 'redis', 'aiohttp.web') "
            "or m.startswith('broker.') and not m.startswith(('broker.wire', 'broker.dialects'))])")
    told = subprocess.run([sys.executable, "-c", code], env=home, capture_output=True, text=True, timeout=20)
    assert told.stdout.strip() == "[]", told.stderr


def test_a_process_publishes_serves_and_ends_well_on_sigterm(home):
    async def test():
        async with Backend() as backend, FakeBroker() as broker:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "publisher", "run", "--json", "--backend", backend.url, "--model", "real",
                "--name", "m", env={**home, "BROKER_URL": broker.url, "BROKER_TOKEN": "hush-hush"},
                stderr=subprocess.PIPE,
            )
            await broker.ready()
            told = await broker.ended(await broker.infer({"messages": [], "stream": True}))
            assert told.payloads[-1] == "[DONE]"
            process.send_signal(signal.SIGTERM)
            _, said = await process.communicate()
            assert process.returncode == 0
            lines = [json.loads(line) for line in said.splitlines()]
            assert lines[0]["event"] == f'publishing "m" ({backend.url}) at {broker.url}'
            assert b"hush-hush" not in said
            assert broker.headers[0]["Authorization"] == "Bearer hush-hush"

    play(test())


def test_flags_come_before_the_environment_and_that_before_the_file(home, tmp_path):
    async def test():
        async with Backend() as backend, FakeBroker() as broker:
            path = tmp_path / "p.json"
            path.write_text(json.dumps({
                "broker": "http://127.0.0.1:1", "token": "from-file",
                "providers": [{"name": "m", "publish": True, "url": backend.url}],
            }))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "publisher", "run", "-q", "--broker", broker.url,
                env={**home, "PUBLISHER_CONFIG": str(path), "BROKER_URL": "http://127.0.0.1:2",
                     "BROKER_TOKEN": "from-env"},
                stderr=subprocess.PIPE,
            )
            await broker.ready()
            process.send_signal(signal.SIGINT)
            _, said = await process.communicate()
            assert (process.returncode, said) == (0, b"")
            assert broker.headers[0]["Authorization"] == "Bearer from-env"
            assert broker.registrations[0]["providers"][0]["model"] == "m"

    play(test())
