"""One open connection to a tool server, its process included, from its start to its end.

It lives in a task of its own: whoever asks may leave, and whoever ends it need not be who began it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from types import ModuleType

from publisher.config.values import ToolServer
from publisher.recipes.log_file import LogFile
from publisher.recipes.output import Output
from publisher.recipes.program import cannot_start, check_directory
from publisher.failures import RecipeFailed
from publisher.tools.failed import ToolFailed
from publisher.tools.installed import NEEDED
from publisher.tools.process import ToolProcess

MOST_BYTES = 4 << 20  # of one answer; a broker takes no larger one
GRACE_S = 2.0  # from the end of its input to SIGTERM, and from there to SIGKILL
CALL_S = 10.0  # of each way to a server at an address, besides what it takes to answer

log = logging.getLogger("publisher")


class Connection:
    """Made by ``open``; ``over`` once nothing can be asked any more."""

    def __init__(self, told: ToolServer, log_file: LogFile | None) -> None:
        self.over = False
        self.heard_at = 0.0  # an answer, by the monotonic clock
        self._told = told
        self._log_file = log_file
        self._sdk: ModuleType
        self._process: ToolProcess | None = None
        self._trouble: Callable[[], str] = str  # of the way to a server at an address
        self._opened: asyncio.Future = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        self._life = asyncio.create_task(self._live(), name=f"tool server {told.name}")

    @classmethod
    async def open(cls, told: ToolServer, log_file: LogFile | None, limit_s: float) -> Connection:
        """Raises ``ToolFailed``. Who stops waiting stops it."""
        made = cls(told, log_file)
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.shield(made._opened)
        except TimeoutError:
            await made.close()
            raise ToolFailed(502, f"did not begin to speak MCP within {limit_s:g} s") from None
        except BaseException:
            await made.close()
            raise
        return made

    async def ask(self, tool: str | None, arguments: dict | None) -> bytes:
        """The result's JSON, of the list of tools for ``None``. Raises ``ToolFailed``, ``ConnectionError``."""
        try:
            answer = await self._sdk.asked(self._opened.result(), tool, arguments, MOST_BYTES)
        except ToolFailed:
            self.heard_at = time.monotonic()
            raise
        self.heard_at = time.monotonic()
        return answer

    @property
    def why_gone(self) -> str:
        """After a ``ConnectionError``."""
        if self._process is not None and self._process.too_long:
            return f"answered more than {MOST_BYTES >> 20} MiB and was stopped: ask for less at a time"
        if self._process is not None and self._process.deaf:
            return "reads nothing of what it is told and was stopped: see the log of its publisher"
        return self._trouble() or "ended before it answered: see the log of its publisher"

    async def close(self) -> None:
        """Returns when the process is gone, with all that it started."""
        self.over = True
        self._leave.set()
        if not self._opened.done():
            self._life.cancel()
        await asyncio.wait([self._life])

    async def _live(self) -> None:
        failure = ToolFailed(502, "was stopped before it was started")
        try:
            # Not on the loop: it is large, and streams go on meanwhile.
            self._sdk = await asyncio.to_thread(importlib.import_module, "publisher.tools.sdk")
            try:
                await self._hold(newer=False)
            except self._sdk.Handshake:
                await self._hold(newer=True)
        except ImportError:
            failure = ToolFailed(502, f"cannot be asked: {NEEDED}")
        except ToolFailed as err:
            failure = err
        except Exception as err:
            log.debug("tool server %s", self._told.name, exc_info=err)
            failure = ToolFailed(502, self._why_not(err))
        finally:
            self.over = True
            if not self._opened.done():
                self._opened.set_exception(failure)
                self._opened.exception()  # whoever waited may have left

    async def _hold(self, newer: bool) -> None:
        if self._told.url:
            way = self._sdk.Way(MOST_BYTES)
            self._trouble = lambda: way.trouble
            async with self._sdk.opened(self._sdk.at(self._told.url, way, CALL_S), newer) as session:
                self._opened.set_result(session)
                await self._leave.wait()
            return
        async with self._started() as process:
            async with self._sdk.opened(self._sdk.over(process), newer) as session:
                self._opened.set_result(session)
                await self._until_left(process)

    @contextlib.asynccontextmanager
    async def _started(self) -> AsyncIterator[ToolProcess]:
        told = self._told
        process = None
        try:
            check_directory(told.command, told.directory)
            output = Output(self._log_file, secrets=told.env.values())
            try:
                process = ToolProcess(told.command, told.args, told.env, told.directory, output, MOST_BYTES)
            finally:
                if process is None:
                    await output.end()
        except RecipeFailed as err:
            raise self._not_started(err) from None
        except (OSError, ValueError) as err:
            raise self._not_started(cannot_start(told.command, err)) from None
        self._process = process
        try:
            yield process
        finally:
            await self._end(process)

    async def _end(self, process: ToolProcess) -> None:
        told = self._told
        try:
            if process.too_long:
                log.error('tool server "%s" sent a message larger than %d MiB', told.name, MOST_BYTES >> 20)
            elif process.deaf:
                log.error('tool server "%s" reads nothing of what it is told: it is stopped', told.name)
            elif how := await process.how_it_ended():
                log.error('tool server "%s": %s %s', told.name, told.command, how)
        finally:
            await process.end(GRACE_S)

    def _not_started(self, err: RecipeFailed) -> ToolFailed:
        log.error('tool server "%s": %s', self._told.name, err)
        return ToolFailed(502, "cannot be started: see the log of its publisher")

    async def _until_left(self, process: ToolProcess) -> None:
        leave = asyncio.create_task(self._leave.wait())
        silent = asyncio.create_task(process.silent())
        try:
            await asyncio.wait([leave, silent], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.over = True
            leave.cancel()
            silent.cancel()

    def _why_not(self, err: Exception) -> str:
        while isinstance(err, ExceptionGroup):
            err = err.exceptions[0]
        if self._told.url:
            return self._trouble() or f"is not reached, or does not speak MCP there ({type(err).__name__}): see its url in the publisher's config"
        return "ended, or spoke no MCP, when it was started: see the log of its publisher"
