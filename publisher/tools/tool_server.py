"""One published tool server: started by the first call, asked, stopped when nobody asked for a while.

However many call, one start runs at a time and all share its end. One that died is started again by the next
call, never by itself. What it is asked and answers is never logged.
"""

from __future__ import annotations

import asyncio
import logging
import time

import msgspec

from broker.wire import TOOLS
from publisher.config.values import ToolServer as Told
from publisher.published.slots import Slots
from publisher.recipes.log_file import LogFile, log_path
from publisher.tools.connection import Connection
from publisher.tools.failed import ToolFailed

#: How long it may take to list its tools, when a call was given up and it may hang.
LOOK_S = 5.0

log = logging.getLogger("publisher")


class Params(msgspec.Struct):
    name: str = ""
    arguments: dict | None = None


class Asked(msgspec.Struct):
    method: str
    params: Params = msgspec.field(default_factory=Params)


_read = msgspec.json.Decoder(Asked).decode


class ToolServer:
    def __init__(self, told: Told, start_s: float) -> None:
        self.told = told
        self.name = TOOLS + told.name  # where LLMs are named
        self.slots = Slots(told.slots)
        self.log_file = log_path(self.name) if told.command else None
        self.since = time.monotonic()
        self._start_s = start_s
        self._connection: Connection | None = None
        self._starting: asyncio.Task[Connection] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._probe: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._idle_at = 0.0
        self._working = 0
        self._none_working = asyncio.Event()
        self._none_working.set()

    @property
    def state(self) -> str:
        """Asleep until it is asked: as an LLM that is woken, it is ``hibernating`` then."""
        if self._starting is not None:
            return "waking"
        return "active" if self._connection is not None and not self._connection.over else "hibernating"

    @property
    def stops_in_s(self) -> float | None:
        return None if self._idle is None else max(0.0, self._idle_at - time.monotonic())

    async def answer(self, request: bytes | msgspec.Raw) -> bytes:
        """The result's JSON of ``tools/list`` or ``tools/call``. Raises ``ToolFailed``."""
        tool, arguments = self._asked(request)
        self._begin()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.told.timeout_s):
                return await self._answer(tool, arguments)
        except TimeoutError:
            self._given_up(began)
            raise self._failed(504, f"did not answer within {self.told.timeout_s:g} s") from None
        except asyncio.CancelledError:
            self._given_up(began)
            raise
        finally:
            self._end()

    async def retire(self) -> None:
        """It is published no more: what runs may end."""
        await self._none_working.wait()
        await self.stop()

    async def stop(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        for task in (self._starting, self._probe):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _asked(self, request: bytes | msgspec.Raw) -> tuple[str | None, dict | None]:
        try:
            asked = _read(request)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise self._failed(400, "was asked what is no request of MCP") from None
        if asked.method == "tools/list":
            return None, None
        if asked.method != "tools/call" or not asked.params.name:
            raise self._failed(400, "is asked for tools/list, or for tools/call with the name of a tool, only")
        return asked.params.name, asked.params.arguments

    async def _answer(self, tool: str | None, arguments: dict | None) -> bytes:
        connection = None
        try:
            connection = await self._connected()
            return await connection.ask(tool, arguments)
        except ToolFailed as err:
            raise self._failed(err.status, str(err), err.words) from None
        except ConnectionError:
            self._close(connection)
            raise self._failed(502, connection.why_gone) from None

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.over:
            return self._connection
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name=f"start {self.name}")
            self._starting.add_done_callback(self._started)
        starting = self._starting
        # Not awaited itself: who stops waiting does not stop it, for the next one needs it as well.
        await asyncio.wait([starting])
        if starting.cancelled():
            raise ToolFailed(502, "is stopped: the publisher ends, or its config is another one now")
        return starting.result()

    async def _start(self) -> Connection:
        if self._closing:  # two would be in one another's way
            await asyncio.wait(set(self._closing))
        log.info('starting tool server "%s"', self.told.name)
        return await Connection.open(self.told, self.log_file and LogFile(self.log_file), self._start_s)

    def _started(self, start: asyncio.Task[Connection]) -> None:
        self._starting = None
        self.since = time.monotonic()
        if not start.cancelled() and start.exception() is None:
            self._connection = start.result()

    def _begin(self) -> None:
        self._working += 1
        self._none_working.clear()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _end(self) -> None:
        self._working -= 1
        if not self._working:
            self._none_working.set()
            self._idle_at = time.monotonic() + self.told.idle_s
            self._idle = asyncio.get_running_loop().call_later(self.told.idle_s, self._rest)

    def _rest(self) -> None:
        self._idle = None
        if self._connection is not None and not self._connection.over:
            log.info('tool server "%s" is idle: it is stopped', self.told.name)
        self._close()

    def _given_up(self, began: float) -> None:
        """Whether it hangs, or only that call: it is asked for something else, unless it has said anything since."""
        connection = self._connection
        if connection is not None and connection.heard_at < began and self._probe is None:
            self._probe = asyncio.create_task(self._look(connection), name=f"look at {self.name}")
            self._probe.add_done_callback(self._looked)

    async def _look(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await connection.ask(None, None)
        except ToolFailed:
            pass  # that is an answer as well
        except TimeoutError:
            log.warning('tool server "%s" hangs: it is stopped, and the next call starts it again', self.told.name)
            self._close(connection)
        except ConnectionError:
            self._close(connection)

    def _looked(self, look: asyncio.Task[None]) -> None:
        self._probe = None

    def _close(self, connection: Connection | None = None) -> None:
        """That connection, or the one that there is; the next call begins anew."""
        connection = connection or self._connection
        if connection is None:
            return
        if connection is self._connection:
            self._connection = None
            self.since = time.monotonic()
        task = asyncio.create_task(connection.close(), name=f"stop {self.name}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _failed(self, status: int, what: str, words: str = "") -> ToolFailed:
        return ToolFailed(status, f'the tool server "{self.told.name}" {what}', words)
