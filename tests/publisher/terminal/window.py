"""A terminal window with the program of ``shown.py`` in it. POSIX only."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

from tests.publisher.terminal.screen import Screen
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
PLAIN = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONIOENCODING"}
_BEGUN = re.compile(r"(\x1b(\[[?\d;]*)?)?\Z")  # a control whose end is not here yet


class Window:
    def __init__(self, width: int, height: int, env: dict[str, str]) -> None:
        self.screen = Screen(width)
        self.output = ""
        self._left = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._master, terminal = pty.openpty()
        self._size(width, height)
        asked, self._ask = os.pipe()
        self._answers, answer = os.pipe()
        kept = {name: value for name, value in os.environ.items() if name not in PLAIN}

        def in_charge() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.publisher.terminal.shown", str(asked), str(answer)],
            stdin=terminal, stdout=terminal, stderr=terminal, pass_fds=(asked, answer), start_new_session=True,
            preexec_fn=in_charge, cwd=ROOT, env={**kept, "TERM": "xterm", "PYTHONUTF8": "1", **env},
        )
        for end in (terminal, asked, answer):
            os.close(end)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def tell(self, what: str) -> None:
        os.write(self._ask, f"{what}\n".encode())

    async def cpu_s(self) -> float:
        """Asked of the program, which must be awake to answer."""
        self.tell("cpu")
        async with asyncio.timeout(20):
            return float(await asyncio.to_thread(os.read, self._answers, 100))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def resize(self, width: int, height: int) -> None:
        self.screen.resize(width)
        self._size(width, height)

    def hang_up(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        self._master = -1

    async def shows(self, text: str) -> None:
        await eventually(lambda: any(text in line for line in self.screen.lines), 10)

    async def hides(self, text: str) -> None:
        await eventually(lambda: not any(text in line for line in self.screen.lines), 10)

    async def ended(self) -> int:
        code = await asyncio.to_thread(self.process.wait, 10)
        self._read_rest()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._master >= 0:
            self.hang_up()
        os.close(self._ask)
        os.close(self._answers)

    def _size(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def _read_rest(self) -> None:
        os.set_blocking(self._master, False)
        with contextlib.suppress(OSError):
            while self._read():
                pass

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except BlockingIOError:
            return False
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self._master)
            return False
        text = self._left + self._decode(data)
        cut = len(text) - len(_BEGUN.search(text)[0])
        text, self._left = text[:cut], text[cut:]
        self.output += text
        self.screen.feed(text)
        return True


@contextlib.asynccontextmanager
async def window(width: int = 80, height: int = 30, **env: str) -> AsyncIterator[Window]:
    opened = Window(width, height, env)
    try:
        yield opened
    finally:
        opened.close()
