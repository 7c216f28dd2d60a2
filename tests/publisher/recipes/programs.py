"""Small programs for recipes, and a look at which processes live."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from publisher.config.values import Command, Process
from publisher.failures import RecipeFailed
from publisher.recipes.command import run_command
from publisher.recipes.server_process import ServerProcess

PYTHON = sys.executable
SLEEP = "import time; time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def command(code: str, **more: object) -> Command:
    return Command(PYTHON, ("-c", code), **more)


def server(code: str, **more: object) -> Process:
    return Process(PYTHON, ("-c", code), **more)


def child(code: str) -> str:
    """Code that starts other code, and leaves it alone."""
    return f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}])\n"


def note_pid(file: Path) -> str:
    """Code that writes its own process id down, in one go."""
    return (
        f"import os; open({str(file)!r} + '.new', 'w').write(str(os.getpid())); "
        f"os.rename({str(file)!r} + '.new', {str(file)!r})\n"
    )


def noted(file: Path) -> int | None:
    return int(file.read_text()) if file.exists() else None


def alive(pid: int) -> bool:
    """A process that ended and that nobody has asked for yet does not live."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform != "linux":
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def failure_of(step: Command) -> str:
    with pytest.raises(RecipeFailed) as told:
        await run_command(step)
    return str(told.value)


@contextlib.asynccontextmanager
async def process_of(step: Process, folder: Path, **times: float) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(step, "qwen", folder / "server.log", **times)
    try:
        yield process
    finally:
        await process.stop()
        assert not process.running and process.pid is None


def said(caplog) -> list[str]:
    """What the publisher logged, and not what an earlier test's garbage says when it is collected."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("publisher")]
