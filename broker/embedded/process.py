"""One run of the server program: how it is started, how it is ended, what it said.

It gets its settings as arguments, never a configuration file, so that nothing
written by hand can open a port or turn the append-only file off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Self

log = logging.getLogger(__name__)

LOG = "server.log"
LAUNCHER = Path(__file__).with_name("launcher.py")


class Process:
    """The server, or on a ``pipe`` leash the launcher that holds it."""

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path) -> None:
        self._process = process
        self._log_file = log_file

    @classmethod
    async def start(
        cls, binary: Path, data_dir: Path, socket: Path, *, lock_fd: int, leash: str
    ) -> Self:
        log_file = data_dir / LOG
        with open(log_file, "ab") as said:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(LAUNCHER)),
                *(leash, str(os.getpid()), str(lock_fd)),
                *_command(binary, data_dir, socket, log_file),
                # Only the pipe leash reads it; its end is our death.
                stdin=asyncio.subprocess.PIPE,
                stdout=said,
                stderr=said,
                pass_fds=(lock_fd,),
                # Ctrl-C at a terminal goes to a whole group; we say when it stops.
                start_new_session=True,
            )
        return cls(process, log_file)

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def wait(self) -> int:
        return await self._process.wait()

    async def end(self, limit_s: float) -> None:
        """SIGTERM lets it write everything down; a server that hangs is killed."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), limit_s)
        except TimeoutError:
            log.error("embedded Redis did not stop in %g s; killed", limit_s)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # with the launcher, if one stayed
            await self._process.wait()

    def last_words(self) -> str:
        """For an error message: the end of its log, and where the rest is."""
        try:
            lines = self._log_file.read_text(errors="replace").splitlines()[-3:]
        except OSError:
            lines = []
        return f"Its log ({self._log_file}) ends: {' | '.join(lines) or 'nothing'}"


def _command(binary: Path, data_dir: Path, socket: Path, log_file: Path) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-use-rdb-preamble": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": str(log_file),
    }
    arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
    return [str(binary), *arguments]
