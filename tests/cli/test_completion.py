"""Completion in a real bash: keys are typed, and what stands on the line is run. Names come from the broker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from broker.cli.completion import BASH, SHELLS
from scripts.ports import free_port
from tests.cli.running import applied, did, environment, ran
from tests.publisher.find.running import Typing
from tests.support.brokers import replica
from tests.support.jobs import submit
from tests.support.provider import Provider

in_bash = pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="bash, in a terminal")
TYPED = [
    ("broker ge\tll\t", "<get><llms>"),
    ("broker get agents re\t", "<get><agents><reviewer>"),
    ("broker describe llm llama3.2:\t", "<describe><llm><llama3.2:1b>"),
    ("broker describe llm qw\t8\t", "<describe><llm><qwen3:8b>"),  # to the colon, and on from there
    ("broker delete llms qwen3:8b qwen3:\t", "<delete><llms><qwen3:8b><qwen3:4b>"),  # not the same again
    ("broker chat rev\t", "<chat><reviewer>"),
    ("broker chat lla\t", "<chat><llama3.2:1b>"),
    ("broker chat reviewer --pers\tpo\t", "<chat><reviewer><--personality><poet one>"),
    ("broker get llms -o wi\t", "<get><llms><-o><wide>"),
    ("broker describe pool sm\t", "<describe><pool><smart>"),
    ("broker task submit sm\t", "<task><submit><smart>"),
    ("broker task purge de\t", "<task><purge><dead>"),
    ("broker task cancel job_\t", "<task><cancel><job_"),
    ("broker get ta\t--state dea\t", "<get><tasks><--state><dead>"),
    ("broker edit thr\t", "<edit><thr>"),  # threads are not edited
]


def bash(broker, tmp_path) -> dict[str, str]:
    program = tmp_path / "bin" / "broker"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m broker "$@"\n')
    program.chmod(0o755)
    script = tmp_path / "script"
    # What is completed is told by an argument of its own each, and nothing is run.
    script.write_text(f"{BASH}\nbroker() {{ printf '<%s>' \"$@\"; echo; }}\nPS1='READY> '\nbind 'set bell-style none'\n")
    return environment(broker, PATH=f"{program.parent}:{os.environ['PATH']}", TERM="dumb", LC_ALL="C.UTF-8", SCRIPT=str(script))


@in_bash
async def test_tab_completes_verbs_kinds_and_names(redis_real, tmp_path):
    async with replica(redis_real) as broker, Provider(broker, "llama3.2:1b", "qwen3:4b", "qwen3:8b") as provider:
        await applied(
            broker, {"kind": "Agent", "name": "reviewer", "llm": "qwen3:8b"}, {"kind": "Personality", "name": "poet one"},
            {"kind": "Pool", "name": "smart", "members": [{"llm": "qwen3:4b"}]},
        )
        await submit(broker, "qwen3:4b")
        env = bash(broker, tmp_path)
        async with Typing("bash", "--noprofile", "--rcfile", env["SCRIPT"], "-i", env=env) as screen:
            for typed, called in TYPED:
                await screen.until("READY> ")
                screen.type(typed + "\n")
                await screen.until(called)
        await provider.answer(await provider.next())


@in_bash
async def test_nothing_in_a_name_is_run_when_it_is_completed(redis_real, tmp_path):
    names = ["ev$(echo run)`echo run`", 'od"d!ls\\', "who's"]
    async with replica(redis_real) as broker:
        await applied(broker, *({"kind": "Agent", "name": name, "model": "m"} for name in names))
        env = bash(broker, tmp_path)
        async with Typing("bash", "--noprofile", "--rcfile", env["SCRIPT"], "-i", env=env) as screen:
            for quote in ("", '"', "'"):
                for name in names:
                    await screen.until("READY> ")
                    screen.type(f"broker chat {quote}{name[:2]}\t\n")
                    await screen.until(f"<chat><{name}>")


@in_bash
async def test_without_a_broker_nothing_is_said_and_nothing_takes_long(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    done = await ran(url, _BROKER_COMPLETE="bash_complete", COMP_WORDS="broker\nget\nllms\n", COMP_CWORD="3")
    assert (done.out.strip(), done.err) == ("", "") and time.monotonic() - began < 10
    assert (await ran("no address", _BROKER_COMPLETE="bash_complete", COMP_WORDS="broker\nget\nllms\n", COMP_CWORD="3")).err == ""


@pytest.mark.parametrize("shell", SHELLS)
async def test_each_shell_gets_a_script_with_the_word_how_to_load_it(shell):
    text = await did("http://127.0.0.1:9", "completion", shell)
    assert text.startswith("# Load it") and "_BROKER_COMPLETE" in text
    assert shell != "bash" or shutil.which("bash") is None or os.system(f"bash -n <<'EOF'\n{text}\nEOF") == 0


def test_help_loads_nothing_that_is_heavy():
    heavy = {"aiohttp", "asyncio", "msgspec", "pydantic", "redis", "yaml"}
    code = f"import sys; from broker.__main__ import main\ntry: main(['--help'])\nfinally: print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(""), timeout=20)
    assert done.stderr.strip() == "[]" and "chat" in done.stdout
