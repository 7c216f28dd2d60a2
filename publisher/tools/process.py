"""The process of one tool server: started, spoken to line by line, ended with all that it started.

Read and written on threads, as every program here (``recipes/program.py``), so that it is the same
on every system. A line has an end, and so has what waits to be read: memory is bounded. It knows
nothing of what the lines say.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from publisher.recipes.output import Output, in_background
from publisher.recipes.program import how_it_ended, kill_group, own_group

BLOCK = 65536
LINES_AHEAD = 4  # read, and not taken yet
WAITING_BYTES = 64 << 20  # written, and not read by it yet
LINE_COST = 100  # of one that waits, besides its length
LAST_LINES_S = 0.3  # from the program's end, for what is still in the pipe
LOOK_S = 0.5

#: What a program gets of our own environment: where it is, and who it runs for. No key that stands beside it.
USUAL = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LC_ALL", "TZ", "TMPDIR", "APPDATA", "HOMEDRIVE", "HOMEPATH",
    "LOCALAPPDATA", "PATHEXT", "PROCESSOR_ARCHITECTURE", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE",
)


def environment(own: Mapping[str, str]) -> dict[str, str]:
    return {**{name: os.environ[name] for name in USUAL if name in os.environ}, **own}


class ToolProcess:
    """Runs from the beginning on, until ``end``. Raises ``OSError`` or ``ValueError`` when it cannot be started.

    ``line_bytes``: a longer line is its end, told by ``too_long``. One that reads nothing is ended too: ``deaf``.
    """

    def __init__(
        self, command: str, args: Sequence[str], env: Mapping[str, str], directory: str | None, output: Output, line_bytes: int
    ) -> None:
        self.too_long = False
        self.deaf = False
        self._output = output
        self._line_bytes = line_bytes
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(LINES_AHEAD)
        self._left = False  # nobody takes lines any more
        self._to_write: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._given = 0  # to be written, counted on the loop
        self._taken = 0  # of that by the program, counted on the thread
        self._exited: asyncio.Future[int] = self._loop.create_future()
        self._last: asyncio.Future[None] = self._loop.create_future()
        self._process = subprocess.Popen(
            [command, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output.write_end,
            env=environment(env), cwd=directory, bufsize=0, **own_group(),
        )
        self.pid = self._process.pid
        output.started()
        try:
            for duty in (self._read, self._write, self._wait):
                in_background(duty)
        except OSError:
            self._kill()
            raise

    async def line(self) -> bytes | None:
        """The next one; ``None`` when there are no more."""
        line = await self._lines.get()
        self._room.release()
        if line is None:
            self._lines.put_nowait(None)  # also for whoever asks again
        return line

    def write(self, line: bytes) -> None:
        line += b"\n"
        self._given += len(line) + LINE_COST
        if self._given - self._taken > WAITING_BYTES:
            # It may have asked for each of these lines: a question costs it less than the answer costs us.
            self.deaf = True
            self._said_last(None)
        else:
            self._to_write.put(line)

    async def silent(self) -> None:
        """Waits until it has ended, or has said its last."""
        await asyncio.shield(self._last)

    async def how_it_ended(self) -> str:
        """By itself; empty if it did not. For the log only: what it printed may be of anybody's request."""
        if self._last.done():
            await asyncio.wait([self._exited], timeout=LOOK_S)
        if not self._exited.done():
            return ""
        await self._output.end()
        return how_it_ended(self._exited.result()) + self._output.said(1)

    async def end(self, grace_s: float) -> None:
        """First its input ends, then it is asked to, then it must; what it left behind goes with it."""
        self._left = True
        self._to_write.put(None)
        for ask in (lambda: None, self._terminate):
            ask()
            if await self._gone(grace_s):
                break
        self._kill()
        await self._gone(grace_s)
        await self._output.end()

    async def _gone(self, limit_s: float) -> bool:
        await asyncio.wait([self._exited], timeout=limit_s)
        return self._exited.done()

    def _terminate(self) -> None:
        if sys.platform == "win32":
            self._process.terminate()
        else:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGTERM)

    def _kill(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
        else:
            kill_group(self.pid)

    # ── on threads ──────────────────────────────────────────────────────────

    def _read(self) -> None:
        begun: list[bytes] = []
        size = 0
        with self._process.stdout as pipe:
            while not self._left and (block := pipe.read(BLOCK)):
                *whole, rest = block.split(b"\n")
                for line in whole:
                    self._hand_on(b"".join([*begun, line]))
                    begun, size = [], 0
                begun.append(rest)
                size += len(rest)
                if size > self._line_bytes:
                    self.too_long = True
                    break
        self._tell(self._said_last, None)

    def _hand_on(self, line: bytes) -> None:
        while not self._room.acquire(timeout=LOOK_S):
            if self._left:
                return
        self._tell(self._lines.put_nowait, line)

    def _write(self) -> None:
        with contextlib.suppress(OSError), self._process.stdin as pipe:
            while (data := self._to_write.get()) is not None:
                self._taken += len(data) + LINE_COST
                while data:
                    data = data[pipe.write(data) :]

    def _wait(self) -> None:
        code = self._process.wait()
        self._to_write.put(None)
        self._tell(self._over, code)

    def _over(self, code: int) -> None:
        self._exited.set_result(code)
        # One that it left behind may hold the pipe open for ever.
        self._loop.call_later(LAST_LINES_S, self._said_last, None)

    def _said_last(self, _: None) -> None:
        if not self._last.done():
            self._last.set_result(None)
            self._lines.put_nowait(None)

    def _tell(self, hear, what: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(hear, what)
