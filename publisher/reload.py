"""Hot reload: an edit of the config file, or SIGHUP, puts it in force without a restart.

A bad edit is reported and changes nothing: what was read before stays in force.
The files are looked at, not watched: that works on every file system, and an
editor that writes a new file in place of the old one is nothing special.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from publisher.config.values import Config, ConfigError

log = logging.getLogger("publisher")


class Reload:
    def __init__(
        self,
        read: Callable[[], tuple[Config, tuple[Path, ...]]],
        files: Iterable[Path],
        apply: Callable[[Config], Awaitable[None]],
        say_error: Callable[[str], None],
        every_s: float = 1.0,
    ) -> None:
        self._read = read
        self._files = tuple(files)
        self._apply = apply
        self._say_error = say_error
        self._every_s = every_s
        self._asked = asyncio.Event()
        self._seen = self._look()

    def ask(self) -> None:
        """SIGHUP: also without an edit, for what a variable or a secret's file says now."""
        self._asked.set()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every_s):
                    await self._asked.wait()
            except TimeoutError:
                if self._look() == self._seen:
                    continue
                await self._until_written()
            self._asked.clear()
            await self.now()

    async def now(self) -> str:
        """Reads and applies it; returns what is wrong with it, or nothing."""
        self._seen = self._look()
        try:
            config, files = self._read()
        except ConfigError as err:
            log.error("the edited config is not used, the one before stays in force: %s", err)
            return self._said(str(err))
        if files != self._files:  # else an edit of just now would not be seen
            self._files = files
            self._seen = self._look()
        try:
            await self._apply(config)
        except Exception as err:
            log.error("the edited config could not be put in force: %r", err, exc_info=err)
            return self._said(f"it could not be put in force ({type(err).__name__}): see the log, then restart")
        self._said("")
        log.info("config read again")
        return ""

    def _said(self, wrong: str) -> str:
        self._say_error(wrong)
        return wrong

    async def _until_written(self) -> None:
        """Some editors write in steps: waits until it stays the same for one look."""
        seen = None
        while seen != (seen := self._look()):
            await asyncio.sleep(self._every_s / 4)

    def _look(self) -> tuple:
        return tuple(_state(file) for file in self._files)


def _state(file: Path) -> tuple | None:
    try:
        state = os.stat(file)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino
