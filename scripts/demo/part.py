"""One process of the story: started, listened to, stopped.

The end of what it said is kept, so that a failure can be told with it. On Linux
it dies with the story even on ``kill -9``; it never hears the terminal's Ctrl-C,
because the story stops its parts in order.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from broker.embedded import launcher

LINES_KEPT = 25
STOP_S = 10.0
#: The story is the same whatever the user's own broker or publisher is told.
OURS = re.compile(r"(BROKER|REVEILLE)_.*|(REDIS_URL|HOST|PORT)(_FILE)?|PUBLISHER_CONFIG")
COLOUR = re.compile(r"\033\[[0-9;]*m")


class PartFailed(Exception):
    """A process ended or stayed silent; the text ends with what it said last."""


class Part:
    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.hear: Callable[[str, str], None] | None = None
        self._command = command
        self._said: deque[str] = deque(maxlen=LINES_KEPT)
        self._heard = asyncio.Condition()

    async def __aenter__(self) -> Part:
        command = [str(Path(sys.executable).parent / self._command[0]), *self._command[1:]]
        if sys.platform == "linux":
            command = [sys.executable, launcher.__file__, "linux", str(os.getpid()), "0", *command]
        environment = {key: value for key, value in os.environ.items() if not OURS.fullmatch(key)}
        self._process = await asyncio.create_subprocess_exec(
            *command, env={**environment, "PYTHONUNBUFFERED": "1"}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._listening.cancel()

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def says(self, pattern: str, limit_s: float) -> re.Match[str]:
        """The first line that has the pattern in it, waited for."""
        found: re.Match[str] | None = None

        def look() -> bool:
            nonlocal found
            found = next(filter(None, (re.search(pattern, line) for line in self._said)), None)
            return found is not None

        async def heard() -> None:
            async with self._heard:
                await self._heard.wait_for(look)

        await self.during(heard(), limit_s, f"did not say {pattern!r}")
        return found

    async def during(self, work: Coroutine[Any, Any, Any], limit_s: float, else_it: str) -> Any:
        """The work's result, unless this process ends first or the limit passes."""
        doing, ending = asyncio.create_task(work), asyncio.create_task(self.end())
        try:
            await asyncio.wait([doing, ending], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            if ending.done():
                ending.result()
            raise self.failure(f"{else_it} within {limit_s:g} s")
        finally:
            for task in (doing, ending):
                task.cancel()
            await asyncio.gather(doing, ending, return_exceptions=True)

    async def end(self) -> None:
        """Returns never: a part that ends by itself has failed."""
        code = await self._process.wait()
        await asyncio.wait([self._listening], timeout=1)
        raise self.failure(f"ended with exit code {code}")

    def failure(self, what: str) -> PartFailed:
        said = "\n".join(f"    {line}" for line in self._said) or "    nothing"
        return PartFailed(f"the {self.name} {what}. It said last:\n{said}")

    async def _listen(self) -> None:
        async for raw in self._process.stdout:
            line = COLOUR.sub("", raw.decode(errors="replace").rstrip())
            if self.hear is not None:
                self.hear(self.name, line)
            async with self._heard:
                self._said.append(line)
                self._heard.notify_all()
