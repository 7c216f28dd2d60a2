"""A running publisher as its control socket shows it, with commands that a test scripts.

``serving`` opens a real socket in the test's own folders; ``verb`` runs a verb as
a process of its own in those folders.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from publisher.control.log_ring import LogRing
from publisher.control.place import Place
from publisher.control.refused import Refused
from publisher.control.server import Control
from publisher.status import BrokerStatus, RowStatus, Status
from tests.support.processes import ROOT
from tests.support.waiting import eventually


@dataclass
class Fake:
    """Commands with answers from the test. ``asked`` is what came."""

    config: str = ""
    pid: int = 4711
    rows: list[RowStatus] = field(default_factory=list)
    brokers: list[BrokerStatus] = field(default_factory=list)
    config_error: str = ""
    busy: str = ""  # why sleep and reload are refused
    broken: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_wake = asyncio.Event()
        self.may_wake.set()
        self.ring = LogRing()
        self.log = logging.Logger("fake")
        self.log.addHandler(self.ring)

    def status(self) -> Status:
        self.asked.append(("status", ""))
        if self.broken:
            raise RuntimeError("a bug")
        return Status(version="9.9", pid=self.pid, up_s=7500, config=self.config, memory_bytes=50 << 20,
                      config_error=self.config_error, brokers=self.brokers, rows=self.rows)

    async def wake(self, name: str) -> int:
        self.asked.append(("wake", name))
        if name not in [row.name for row in self.rows]:
            raise Refused(f'"{name}" is not published here')
        await self.may_wake.wait()
        return 12300

    async def sleep(self, name: str) -> None:
        self.asked.append(("sleep", name))
        self._unless_busy()

    async def reload(self) -> None:
        self.asked.append(("reload", ""))
        self._unless_busy()

    def logs(self) -> list[str]:
        return self.ring.logs()

    def follow(self) -> AsyncIterator[str]:
        self.asked.append(("follow", ""))
        return self.ring.follow()

    def _unless_busy(self) -> None:
        if self.busy:
            raise Refused(self.busy)


def row(name: str, **more) -> RowStatus:
    told = {"model": name, "type": "openai", "url": "http://127.0.0.1:1/v1", "state": "active", "slots": 4, **more}
    return RowStatus(name=name, **told)


@pytest.fixture
def home(monkeypatch) -> Iterator[Path]:
    """Folders of a user of the test's own; the environment of this process and of the verbs' says so.

    Not pytest's folder: its path is too long for a socket.
    """
    with tempfile.TemporaryDirectory(prefix="rv-") as folder:
        _move(Path(folder), monkeypatch)
        yield Path(folder)


def _move(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BROKER_URL", "BROKER_TOKEN", "BROKER_TOKEN_FILE", "PUBLISHER_CONFIG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    runtime, temporary = home / "run", home / "tmp"
    runtime.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("HOME", str(home))


@contextlib.asynccontextmanager
async def serving(fake: Fake, *, otherwise: str = "flags", patience_s: float = 10.0, by_tcp: bool = False):
    """Until the socket answers, and at the end until it is gone."""
    at = Place.of(Path(fake.config) if fake.config else None, otherwise)
    place = Place(at.name, at.folders, by_tcp)
    running = asyncio.create_task(Control(place, fake, patience_s).run())
    try:
        await eventually(lambda: running.done() or any(path.exists() for path in place.paths))
        yield place
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@dataclass
class Told:
    code: int
    out: str
    err: str


async def verb(*words: str, **env: str) -> Told:
    """Runs one to its end."""
    process = await begun(*words, **env)
    out, err = await process.communicate()
    return Told(process.returncode, out.decode(), err.decode())


async def begun(*words: str, **env: str) -> asyncio.subprocess.Process:
    """In the test's folder, so that no config or socket of this machine is in play."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "publisher", *words,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
