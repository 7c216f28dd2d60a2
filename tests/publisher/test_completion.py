"""Completion in a real bash: keys are typed, and what stands on the line is run."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from publisher.cli.completion import BASH
from tests.publisher.find.running import Typing, environment

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("bash") is None, reason="bash, in a terminal"
)
NAMES = ["llama3.2:1b", "qwen3:4b", "qwen3:8b", 'a "b" c', "o$(echo run)`echo`'s", "日本/モデル"]


@pytest.fixture
def env(tmp_path):
    folder = tmp_path / "config" / "reveille"
    folder.mkdir(parents=True)
    entries = [{"name": name, "url": "http://127.0.0.1:1/v1", "publish": True} for name in NAMES]
    (folder / "publisher.json").write_text(json.dumps({"providers": entries}))
    program = tmp_path / "bin" / "publisher"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m publisher "$@"\n')
    program.chmod(0o755)
    script = tmp_path / "script"
    # What is completed is told by an argument of its own each, and nothing is run.
    script.write_text(f"{BASH}\npublisher() {{ printf '<%s>' \"$@\"; echo; }}\nPS1='READY> '\nbind 'set bell-style none'\n")
    return environment(
        tmp_path, PATH=f"{program.parent}:{os.environ['PATH']}", XDG_RUNTIME_DIR=str(tmp_path), TMPDIR=str(tmp_path), TERM="dumb", LC_ALL="C.UTF-8",
        PYTHONPATH=os.getcwd(), SCRIPT=str(script),
    )


@pytest.mark.parametrize(
    ("typed", "called"),
    [
        ("publisher wa\tll\t", "<wake><llama3.2:1b>"),
        ("publisher wake llama3.2:\t", "<wake><llama3.2:1b>"),
        ("publisher wake llama3.2:1\t", "<wake><llama3.2:1b>"),
        ("publisher wake qw\t8\t", "<wake><qwen3:8b>"),  # to the colon, and on from there
        ("publisher  wake   a\t", '<wake><a "b" c>'),
        ("publisher wake o\t", "<wake><o$(echo run)`echo`'s>"),
        ('publisher wake "o\t', "<wake><o$(echo run)`echo`'s>"),  # nothing of a name is run
        ("publisher wake 'o\t", "<wake><o$(echo run)`echo`'s>"),
        ("publisher wake 日\t", "<wake><日本/モデル>"),
        ("publisher run --ty\tvl\t", "<run><--type><vllm>"),
        ("publisher run --type=vl\t", "<run><--type=vllm>"),
    ],
)
async def test_tab_completes_to_one_proper_word(env, typed, called):
    async with Typing("bash", "--noprofile", "--rcfile", env["SCRIPT"], "-i", env=env) as screen:
        await screen.until("READY> ")
        screen.type(typed + "\n")
        await screen.until(called)
