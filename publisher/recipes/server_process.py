"""The LLM server that the publisher starts itself: started, watched, restarted, stopped.

It runs in a group of its own on a leash, so that it never outlives the
publisher. One that exits by itself while it should run is started again, ever
less eagerly. What it prints goes to a log file. Whether it *answers* is not
known here: that is the backend's question.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePath

from publisher.config.values import Process
from publisher.failures import RecipeFailed
from publisher.recipes.leashed import Leashed
from publisher.recipes.log_file import LogFile
from publisher.recipes.output import Output
from publisher.recipes.program import cannot_start

LEASH_HANGS_S = 15.0  # beyond the grace: the leash itself has five after its SIGKILL

log = logging.getLogger("publisher")


class ServerProcess:
    """``on_exit`` is called, on the loop, each time that it ended by itself."""

    def __init__(
        self,
        step: Process,
        name: str,
        log_file: Path,
        *,
        restart_first_s: float = 1.0,
        restart_most_s: float = 60.0,
        steady_s: float = 60.0,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self.restarts = 0
        self.on_exit: Callable[[], None] = lambda: None
        self._step = step
        self._log_file = LogFile(log_file)
        self._restart_first_s = restart_first_s
        self._restart_most_s = restart_most_s
        self._steady_s = steady_s
        self._turn = asyncio.Lock()  # starts and stops one after the other
        self._stopping = False
        self._at_once = asyncio.Event()  # ends the pause before a restart
        self._life: asyncio.Task[None] | None = None
        self._started: asyncio.Future[RecipeFailed | None] | None = None  # of the latest try
        self._run: Leashed | None = None
        self._run_since = 0.0
        self._died: str | None = None

    @property
    def running(self) -> bool:
        return self._run is not None

    @property
    def pid(self) -> int | None:
        return self._run.pid if self._run else None

    @property
    def died(self) -> str | None:
        """Why it ended by itself since the last ``start()``, until it has run steadily again."""
        steady = self.running and time.monotonic() - self._run_since >= self._steady_s
        return None if steady else self._died

    async def start(self) -> None:
        """Returns when it runs, which it may do already. ``RecipeFailed`` when it cannot be started."""
        async with self._turn:
            if self._stopping and self._life:  # whoever stopped it did not wait for the end
                await asyncio.wait([self._life])
            self._died = None
            if self._life is None or self._life.done():
                self._stopping = False
                self._started = asyncio.get_running_loop().create_future()
                self._life = asyncio.create_task(self._live(), name=f"process of {self.name}")
            self._at_once.set()
            if failure := await asyncio.shield(self._started):
                raise failure

    async def stop(self) -> None:
        """Returns when it and all its children are gone; no restart follows."""
        async with self._turn:
            self._stopping = True
            self._at_once.set()
            if self._life is None:
                return
            if self._run:
                self._run.let_go()
            _, hangs = await asyncio.wait([self._life], timeout=self._step.grace_s + LEASH_HANGS_S)
            if hangs and self._run:
                self._run.kill()
                await asyncio.wait([self._life])
            self._life = None
            self._died = None

    async def _live(self) -> None:
        try:
            await self._keep_running()
        finally:
            if self._run:  # we were cancelled; the leash does the rest without us
                self._run.let_go()
            if not self._started.done():
                self._started.set_result(RecipeFailed(f"{self._step.command} was stopped before it was started"))

    async def _keep_running(self) -> None:
        pause_s = self._restart_first_s
        ran = False
        while not self._stopping:
            self._run_since = time.monotonic()
            try:
                self._run = await self._new_run()
            except RecipeFailed as err:
                self._started.set_result(err)
                if not ran:
                    return  # whoever asked for it has been told
                self._died = why = str(err)
            else:
                ran = True
                self._started.set_result(None)
                why = await self._end_of_run()
            if self._stopping:
                return
            if time.monotonic() - self._run_since >= self._steady_s:
                pause_s = self._restart_first_s
            self._started = asyncio.get_running_loop().create_future()
            log.error('"%s": %s; starting it again in %.3g s', self.name, why, pause_s)
            asyncio.get_running_loop().call_soon(self.on_exit)
            await self._pause(pause_s)
            pause_s = min(pause_s * 2, self._restart_most_s)
            self.restarts += not self._stopping

    async def _new_run(self) -> Leashed:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        # Its arguments may hold keys: only the program's name is written down.
        header = f"==== {now} starting {PurePath(self._step.command).name} ====\n"
        try:
            output = Output(self._log_file, header.encode(errors="replace"), self._step.env.values())
        except OSError as err:
            raise cannot_start(self._step.command, err) from None
        return await Leashed.start(self._step, output)

    async def _end_of_run(self) -> str:
        """What to say of it in one line; ``died`` has more."""
        if self._stopping:  # asked for while it was started again
            self._run.let_go()
        how, output = f"{self._step.command} {await self._run.ended()}", self._run.output
        self._run = None
        self._died = how + output.said()
        return how + output.said(1)

    async def _pause(self, pause_s: float) -> None:
        """A start or a stop ends it early."""
        self._at_once.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._at_once.wait()
