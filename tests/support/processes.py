"""Real processes for a test: brokers, publishers, backends, and what a test may do to them.

A ``Stage`` starts them and kills each by its own handle at the end. Starting
returns at once; ``await process.ready()`` waits for the line by which the
process says that it serves. A process that does not get there is reported with
the end of its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp

from tests.support.brokers import Replica
from tests.support.places import Place

ROOT = Path(__file__).resolve().parents[2]

#: Broker settings that make a test quick; a test gives its own where it is about them.
QUICK = {
    "tick_seconds": 0.05, "sweep_seconds": 0.5, "heartbeat_seconds": 0.5, "replica_ttl_seconds": 1.0,
    "reconnect_grace_seconds": 3.0, "shutdown_seconds": 10.0, "queue_wait_seconds": 15.0, "deadline_seconds": 20.0,
}


class Process:
    """One program and its log. It may be started again after its end."""

    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str], says: str):
        self.name = name
        self.log_file = log
        self.url = ""
        self._command = command
        self._env = env
        self._says = says
        self._from = 0
        self._popen: subprocess.Popen | None = None

    def start(self) -> None:
        with open(self.log_file, "ab") as log:
            self._from = log.tell()
            self._popen = subprocess.Popen(
                self._command, cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def ready(self, limit_s: float = 20.0) -> Process:
        """Waits for its word that it serves; an address at the end of that line becomes ``url``."""
        line = await self.said(self._says, limit_s)
        last = line.split()[-1]
        if last.startswith("http"):
            self.url = last
        return self

    def wait_ready(self) -> Process:
        """``ready`` for what is not async."""
        return asyncio.run(self.ready())

    async def said(self, words: str, limit_s: float = 20.0) -> str:
        """The first line of this run's log with those words in it."""
        until = time.monotonic() + limit_s
        while True:
            for line in self.log().splitlines():
                if words in line:
                    return line
            assert self.alive, f"{self.name} ended with {self._popen.returncode} before {words!r}:\n{self.log()}"
            assert time.monotonic() < until, f"{self.name} did not say {words!r} within {limit_s:g} s:\n{self.log()}"
            await asyncio.sleep(0.02)

    async def ended(self, limit_s: float = 20.0) -> int:
        """Its exit status."""
        until = time.monotonic() + limit_s
        while self.alive:
            assert time.monotonic() < until, f"{self.name} still runs after {limit_s:g} s:\n{self.log()}"
            await asyncio.sleep(0.02)
        return self._popen.returncode

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def log(self) -> str:
        with open(self.log_file, "rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace")

    def kill(self) -> None:
        """As the kernel would."""
        if self.alive:
            self._popen.kill()
        self._popen.wait()

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            self._popen.send_signal(number)


class Stage:
    """Where a test's processes play; ``redis_url`` and ``namespace`` are the brokers'."""

    def __init__(self, folder: Path, redis_url: str, namespace: str = "main"):
        self.folder = folder
        self._redis_url = redis_url
        self._namespace = namespace
        self._processes: list[Process] = []

    def broker(self, *, port: int = 0, **settings) -> Process:
        """A replica; the same ``port`` again gives a replica at the same address."""
        env = {"REDIS_URL": self._redis_url, "BROKER_NAMESPACE": self._namespace, **broker_env(**settings)}
        return self.run("broker", "-m", "broker", "serve", "--port", str(port), says="broker listens on", env=env)

    def up(self, data_dir: Path, *, port: int, **settings) -> Process:
        """Everything in one: `broker up`, with the embedded server's data in that folder."""
        words = ("-m", "broker", "up", "--port", str(port), "--data-dir", str(data_dir))
        return self.run("up", *words, says="broker listens on", env=broker_env(**settings))

    def publisher(
        self, broker_url: str, *providers: dict, drain_s: float = 10, session: str = "", token: str | None = None
    ) -> Process:
        """A publisher of those entries of a config file; ``publish`` and ``type`` are filled in."""
        number = len(self._processes)
        config = self.folder / f"publisher-{number}.json"
        entries = [{"publish": True, "type": "openai", **entry} for entry in providers]
        config.write_text(json.dumps({"broker": broker_url, "token": token, "providers": entries}))
        session_file = self.folder / (session or f"session-{number}.json")
        return self.run(
            "publisher", "-m", "publisher", "run", "--config", str(config), "--session-file", str(session_file),
            "--drain-seconds", str(drain_s), says="channel open",
        )

    def backend(self, *, port: int = 0, **script) -> Process:
        """A scripted backend (``tests.support.backend``)."""
        words = ("-m", "tests.support.backend", "--port", str(port), "--script", json.dumps(script))
        return self.run("backend", *words, says="backend at")

    def run(self, name: str, *arguments: str, says: str, env: dict[str, str] | None = None) -> Process:
        """Any Python program."""
        return self.execute(name, [sys.executable, *arguments], says=says, env=env)

    def execute(self, name: str, command: list[str], *, says: str = "", env: dict[str, str] | None = None) -> Process:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "REDIS_", "REVEILLE_", "PUBLISHER_"))}
        full = {**kept, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **(env or {})}
        process = Process(name, command, self.folder / f"{name}-{len(self._processes)}.log", full, says)
        self._processes.append(process)
        process.start()
        return process

    def end(self, left_clean: Callable[[], None] = lambda: None) -> None:
        """Ends everything. ``left_clean`` raises while something is left in Redis; the brokers
        live until it does not, for it is they who clean up after publishers and one another."""
        try:
            for process in self._processes:
                process.thaw()
                if process.name == "publisher":
                    process.terminate()
            _wait(lambda: all(p.name != "publisher" or not p.alive for p in self._processes), 3.0)
            if any(p.name == "broker" and p.alive for p in self._processes):
                _until_passes(left_clean, 8.0)
        finally:
            for process in reversed(self._processes):
                process.kill()
                print(f"── {process.log_file.name}\n{process.log_file.read_text(errors='replace')[-4000:]}")


@contextlib.contextmanager
def stage(folder: Path, place: Place) -> Iterator[Stage]:
    """A stage at that place; at its end nothing is left running, nor in Redis."""
    made = Stage(folder, place.url, place.namespace)
    try:
        yield made
    finally:
        made.end(lambda: asyncio.run(place.check_left_clean()))


def _wait(holds: Callable[[], bool], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)


def _until_passes(check: Callable[[], None], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[Replica]:
    """The test's own client of a broker at that address."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as http:
        yield Replica(None, url, http)


def broker_env(**settings) -> dict[str, str]:
    """Settings as a broker's environment."""
    return {f"BROKER_{name.upper()}": str(value) for name, value in {**QUICK, **settings}.items()}
