"""What the tests of the scripts share: a stage for them, and who is left of them.

The scripts set up ``.venv`` themselves where it is not there yet, so the first
test may take as long as that takes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Process, Stage

SET_UP_S = 300

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@contextlib.contextmanager
def scripts(folder: Path) -> Iterator[Stage]:
    """A stage without a broker of its own, whose processes keep their files in that folder."""
    subprocess.run([ROOT / "scripts" / "setup", "run"], check=True, timeout=SET_UP_S)
    stage = Stage(folder, "")
    try:
        yield stage
    finally:
        stage.end()


def script(stage: Stage, name: str, *words: str) -> Process:
    """A script with a temporary directory and a data directory in the stage's folder."""
    env = {"TMPDIR": str(stage.folder), "REVEILLE_DATA_DIR": str(stage.folder / "data"), "NO_COLOR": "1"}
    return stage.execute(name, [str(ROOT / "scripts" / name), *words], env=env)


def left_of(stage: Stage) -> list[str]:
    """Command lines of running processes that name the stage's folder, or work in it."""
    mark = str(stage.folder).encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = entry.read_bytes()
            if mark in line or mark in os.readlink(os.fsencode(entry.with_name("cwd"))):
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def assert_nothing_left_of(stage: Stage, limit_s: float = 20.0) -> None:
    until = time.monotonic() + limit_s
    while left := left_of(stage):
        assert time.monotonic() < until, "still running:\n" + "\n".join(left)
        time.sleep(0.02)
