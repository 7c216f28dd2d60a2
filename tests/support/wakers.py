"""The other end of a wake recipe: a small HTTP server, or a command, that starts a backend."""

from __future__ import annotations

import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.support.ending import end
from tests.support.processes import ROOT, Process, Stage


class Waker:
    """Counts its calls. ``status`` is what it answers; from 400 on it starts nothing."""

    def __init__(self, start: Callable[[], object]):
        self.calls = 0
        self.status = 202
        self.url = ""
        self._start = start

    async def wake(self, _: web.Request) -> web.Response:
        self.calls += 1
        if self.status < 400:
            self._start()
        return web.Response(status=self.status)


@asynccontextmanager
async def waker(start: Callable[[], object]) -> AsyncIterator[Waker]:
    """``start`` is called for each wake that succeeds."""
    made = Waker(start)
    app = web.Application()
    app.router.add_post("/wake", made.wake)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/wake"
    try:
        yield made
    finally:
        await end(runner)


def command(stage: Stage, port: int) -> Path:
    """A script that asks ``starter`` to start a backend on that port, and ends at once."""
    script = stage.folder / "start-backend"
    script.write_text(f"#!/bin/sh\necho starting the backend\necho {port} >> {stage.folder}/wanted\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def starter(stage: Stage) -> Process:
    """Starts, within the stage, the backends that ``command`` asks for: a daemon that a test can kill."""
    wanted = stage.folder / "wanted"
    wanted.touch()
    text = (
        "import subprocess, sys, time\n"
        "print('starter ready')\n"
        f"while not open({str(wanted)!r}).read().strip(): time.sleep(0.02)\n"
        f"port = open({str(wanted)!r}).read().split()[0]\n"
        f"import os; os.chdir({str(ROOT)!r})\n"
        f"os.execv(sys.executable, [sys.executable, '-m', 'tests.support.backend', '--port', port])\n"
    )
    return stage.execute("starter", [sys.executable, "-c", text], says="starter ready")
