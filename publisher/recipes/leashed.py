"""One run of a server program, at the publisher's end of its leash.

The leash (``leash.py``) is a small process of its own that ends the server when
we let go, whatever the reason, ``kill -9`` included. It never starts a server twice.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Self

from publisher.config.values import Process
from publisher.failures import RecipeFailed
from publisher.recipes.output import Output
from publisher.recipes.program import Program, cannot_start, check_directory, how_it_ended, kill_group

LEASH = Path(__file__).with_name("leash.py")
STARTED_S = 30.0


class Leashed:
    def __init__(self, step: Process, output: Output) -> None:
        self.output = output
        self.pid = 0  # the server's, and its group's
        self._command = step.command
        self._reports: asyncio.Queue[str] = asyncio.Queue()  # the last one is empty
        self._leash = Program(
            sys.executable,
            ("-I", "-S", str(LEASH), f"{step.grace_s:g}", step.command, *step.args),
            env=step.env, directory=step.directory, output=output.write_end, hear=self._reports.put_nowait,
        )

    @classmethod
    async def start(cls, step: Process, output: Output) -> Self:
        """Returns when the program runs; ``RecipeFailed`` when it cannot. Takes the output over."""
        try:
            check_directory(step.command, step.directory)
            run = cls(step, output)
        except RecipeFailed:
            await output.end()
            raise
        except (OSError, ValueError) as err:
            await output.end()
            raise cannot_start(step.command, err) from None
        output.started()
        try:
            await run._begin()
        except BaseException:
            # Cancelled: the leash ends what it has started, or is about to.
            run.let_go()
            await output.end()
            raise
        return run

    async def ended(self) -> str:
        """Waits for the end of the server and all its children; tells how it ended."""
        report = await self._reports.get()
        self.let_go()  # closes our end of a pipe that nobody reads
        await self._leash.wait()
        if not report:  # somebody killed the leash
            kill_group(self.pid)
        await self.output.end()
        if not report:
            return "was ended together with the process that watches it"
        return how_it_ended(int(report.removeprefix("ended ")))

    def let_go(self) -> None:
        """SIGTERM for the server and its children, and SIGKILL for those that do not heed it."""
        self._leash.close_stdin()

    def kill(self) -> None:
        """When even the leash hangs."""
        if self.pid:
            kill_group(self.pid)
        self._leash.kill()

    async def _begin(self) -> None:
        try:
            async with asyncio.timeout(STARTED_S):
                report = await self._reports.get()
        except TimeoutError:
            self.kill()
            raise RecipeFailed(f"{self._command} was not started within {STARTED_S:g} s") from None
        if not report:
            await self.output.end()
            raise RecipeFailed(f"{self._command} cannot be started: what should watch it failed{self.output.said()}")
        word, _, rest = report.partition(" ")
        if word == "running":
            self.pid = int(rest)
            return
        number, _, text = rest.partition(" ")
        raise cannot_start(self._command, OSError(int(number), text) if int(number) else ValueError(text))
