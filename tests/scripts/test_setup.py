"""``scripts/setup``: once done it only looks; what it cannot do it says with the fix."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.scripts.running import SET_UP_S
from tests.support.processes import ROOT

pytestmark = pytest.mark.timeout(SET_UP_S)
SETUP = ROOT / "scripts" / "setup"


def test_a_second_set_up_only_looks_and_needs_no_network():
    subprocess.run([SETUP, "run"], check=True)
    no_network = {**os.environ, "PIP_NO_INDEX": "1", "HTTPS_PROXY": "http://127.0.0.1:9"}
    began = time.monotonic()
    again = subprocess.run([SETUP, "run"], check=True, capture_output=True, text=True, env=no_network)
    assert time.monotonic() - began < 5
    assert again.stdout + again.stderr == ""


def test_two_set_ups_at_once_do_no_harm(tmp_path):
    """Without the stamp both want to install; one waits for the other."""
    subprocess.run([SETUP, "run"], check=True)
    (ROOT / ".venv" / "set-up-for-run").unlink()
    both = [subprocess.Popen([SETUP, "run"], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate()[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sorted(map(len, said))[0] == 0, f"one had nothing left to do: {said}"


def test_the_pins_are_complete():
    """They are installed without their dependencies, so each must be among them."""
    subprocess.run([SETUP, "run"], check=True)
    checked = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-m", "pip", "check"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def test_both_commands_work_from_anywhere(tmp_path):
    subprocess.run([SETUP, "run"], check=True)
    for command in ("broker", "publisher"):
        told = subprocess.run(
            [ROOT / ".venv" / "bin" / command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert told.stdout.startswith(f"{command}, version ")


@pytest.mark.parametrize("python, words", [
    ("exit 1", "Python 3.11 or newer is needed"),
    ('case "$*" in *ensurepip*) exit 1 ;; esac', "apt install python3-venv"),
])
def test_a_machine_without_a_fit_python_is_told_what_to_install(tmp_path, python, words):
    path = _path_with_pythons(tmp_path / "bin", f"#!/bin/bash\n{python}\n")
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    told = subprocess.run(
        [shutil.which("bash"), checkout / "scripts" / "setup"], env={"PATH": path}, capture_output=True, text=True
    )
    assert told.returncode == 1
    assert words in told.stderr


def _path_with_pythons(folder: Path, text: str) -> str:
    folder.mkdir()
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "dirname").symlink_to(shutil.which("dirname"))
    return str(folder)
