"""The verbs as processes: without a terminal, or in one of their own that a test types into."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ENTRY = (
    "import click, publisher.cli.find as find\n"
    "group = click.Group(commands=[find.detect, find.init])\n"
    "group(prog_name='publisher')"
)


@dataclass
class Done:
    code: int
    out: str
    err: str


def verb(*args: object) -> list[str]:
    """The command line of one verb, whether or not the whole program has it yet."""
    return [sys.executable, "-c", ENTRY, *map(str, args)]


def environment(home: Path | None = None, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "PUBLISHER_", "OLLAMA_", "NO_COLOR"))}
    if home:
        kept |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(home / "state"),
                 "APPDATA": str(home / "config"), "LOCALAPPDATA": str(home / "state")}
    return kept | more


async def ran(*command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> Done:
    """Runs it to its end, with nobody at a terminal."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment() if env is None else env,
    )
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())


class Typing:
    """A process in a terminal: ``await until("Broker")``, then ``type("…")``."""

    def __init__(self, *command: str, env: dict[str, str]) -> None:
        self._command = command
        self._env = env
        self.shown = ""
        self._read = 0

    async def __aenter__(self) -> Typing:
        import pty

        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=theirs, stdout=theirs, stderr=theirs, env=self._env, start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self._new = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._ours, self._take)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        os.close(self._ours)

    def _take(self) -> None:
        try:
            block = os.read(self._ours, 65536)
        except OSError:  # the other side is gone
            block = b""
        if not block:
            asyncio.get_running_loop().remove_reader(self._ours)
        self.shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", block.decode("utf-8", "replace"))
        self._new.set()

    async def until(self, text: str, limit_s: float = 15.0) -> None:
        """Waits for a text that came after the last one waited for."""
        try:
            async with asyncio.timeout(limit_s):
                while (at := self.shown.find(text, self._read)) < 0:
                    self._new.clear()
                    await self._new.wait()
        except TimeoutError:
            raise AssertionError(f"waited for {text!r}; on the screen: {self.shown!r}") from None
        self._read = at + len(text)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    async def answer(self, question: str, text: str = "") -> None:
        await self.until(question)
        self.type(text + "\n")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def interrupt(self, text: str) -> None:
        """Ctrl-C, answered by that text. One that comes between readline's prompt and its read is heard with the next only,
        as one."""
        self.type("\x03")
        try:
            await self.until(text, 3)
        except AssertionError:
            self.type("\x03")
            await self.until(text)

    async def interrupted(self) -> int:
        """Ctrl-C, and again when the first came just before the process began to listen."""
        for _ in range(10):
            self.type("\x03")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    return await self._process.wait()
        raise AssertionError(f"Ctrl-C does not end it; on the screen: {self.shown!r}")

    async def ended(self) -> int:
        async with asyncio.timeout(15):
            return await self._process.wait()


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
