"""A publisher as a process of its own, between a fake broker and a scripted backend in the test's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.backend import Backend
from tests.support.fake_broker import FakeBroker

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Run:
    broker: FakeBroker
    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    async def serves(self) -> None:
        await self.is_ready()
        told = await self.broker.ended(await self.broker.infer({"messages": [], "stream": True}), limit_s=5)
        assert told.payloads[-1] == "[DONE]"

    async def is_ready(self) -> None:
        """Its channel is open. Fails as soon as the process ends instead."""
        ready = asyncio.ensure_future(self.broker.ready())
        ended = asyncio.ensure_future(self.process.wait())
        try:
            await asyncio.wait([ready, ended], timeout=5, return_when=asyncio.FIRST_COMPLETED)
            assert ready.done() and self.process.returncode is None, f"{self.process.returncode}: {self.lines}"
        finally:
            for wait in (ready, ended):
                wait.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)

    def said(self, words: str) -> int:
        return sum(words in line for line in self.lines)

    async def stops(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await self.process.wait() == 0


@contextlib.asynccontextmanager
async def publisher(
    tmp_path: Path, *arguments: str, env: dict | None = None, without: tuple[str, ...] = (), through: str = "",
    stderr: int = asyncio.subprocess.PIPE, **more: object,
):
    """``through``: a line of shell that ends in the publisher; ``without``: variables that are not set."""
    async with Backend() as backend, FakeBroker() as broker:
        full = {k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "PUBLISHER_", "XDG_"))}
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        full |= {"HOME": str(home), "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "BROKER_URL": broker.url, **(env or {})}
        for name in without:
            full.pop(name, None)
        flags = arguments or ("--backend", backend.url, "--model", "real", "--name", "m")
        command = [sys.executable, "-m", "publisher", "run", *(one.replace("BACKEND", backend.url) for one in flags)]
        if through:
            command = ["sh", "-c", through, "publisher", *command]
        process = await asyncio.create_subprocess_exec(*command, env=full, cwd=tmp_path, stderr=stderr, **more)
        run = Run(broker, process)
        reading = asyncio.create_task(_read(process, run.lines)) if process.stderr else None
        try:
            yield run
            if process.returncode is None:
                await run.stops()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            if reading:
                await reading
        assert not any("Traceback" in line or "Errno" in line and "error:" in line for line in run.lines), run.lines


async def _read(process: asyncio.subprocess.Process, lines: list[str]) -> None:
    while line := await process.stderr.readline():
        lines.append(line.decode())
