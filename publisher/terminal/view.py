"""The live view of ``publisher run`` on a terminal: draws the picture again when it changed.

At most four times a second, and never when nothing changed. Lines of the log
scroll by above it. It decides nothing, it reads no key and no signal that ends
the program, and a terminal that does not take its output never holds up the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from publisher.activity import Activity, Ended, Event
from publisher.request import Request
from publisher.status import Status
from publisher.terminal.frame import ENDED_MOST, Snapshot, lines
from publisher.terminal.line import Line, drawn
from publisher.terminal.gone import let_go
from publisher.terminal.log_lines import LogLines
from publisher.terminal.suits import only_ascii

log = logging.getLogger("publisher")

REFRESH_S = 0.25
IDLE_S = 1.0  # between two looks while nothing runs
LOG_ROOM = 4  # lines that a terminal of some height keeps for the log
ROOMY_FROM = 20


class Picture:
    """What is drawn, by a refresh as well as below a printed line."""

    def __init__(self) -> None:
        self.text = Text("")

    def __rich__(self) -> Text:
        return self.text


class View:
    def __init__(self, status: Callable[[], Status], activity: Activity, console: Console | None = None) -> None:
        self._status = status
        self._activity = activity
        self._console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._ascii = only_ascii(self._console.encoding)
        self._recent: deque[tuple[float, Request]] = deque(maxlen=ENDED_MOST)
        self._news = asyncio.Event()
        self._log = LogLines(self._ascii, self._news.set)
        self._shown: list[Line] = []
        self._picture = Picture()
        self._size = self._console.size

    def log_handler(self) -> logging.Handler:
        """Lines of the log go above the view while it runs, else straight to stderr."""
        return self._log

    async def run(self) -> None:
        """Until cancelled. A terminal that is gone, or a picture that fails, ends it too, and nothing else."""
        unlisten = self._activity.listen(self._hear)
        self._log.held(asyncio.get_running_loop())
        try:
            with contextlib.suppress(OSError), _told_of_resizes(self._news.set):
                live = Live(self._picture, console=self._console, auto_refresh=False, transient=True)
                try:
                    live.start()
                    await self._keep_drawing(live)
                finally:
                    self._end(live)
        except Exception as err:
            log.error("the live view broke; the log goes on: %r", err, exc_info=err)
        finally:
            unlisten()
            let_go(self._console.file)
            self._log.released()

    def _hear(self, event: Event) -> None:
        if type(event) is Ended:
            self._recent.append((time.time(), event.request))
        self._news.set()

    async def _keep_drawing(self, live: Live) -> None:
        while True:
            self._news.clear()
            self._draw(live)
            await asyncio.sleep(REFRESH_S)
            if not (self._activity.running or self._activity.wakes):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_S):
                        await self._news.wait()

    def _draw(self, live: Live) -> None:
        if not self._takes_output():
            return
        size = self._console.size
        spare = LOG_ROOM if size.height >= ROOMY_FROM else 1
        # One column stays free: a full one would wrap when the window gets narrower.
        shown = lines(self._status(), self._snapshot(size.height), size.width - 1, size.height - spare, self._ascii)
        said = self._log.taken()
        if shown == self._shown and size == self._size and not said:
            return
        if size != self._size:
            self._erase_wrapped(size.width)
        self._shown, self._size = shown, size
        self._picture.text = drawn(shown)
        if said:
            self._console.print(*said, sep="\n", soft_wrap=True)  # draws the view below it
        else:
            live.refresh()

    def _snapshot(self, most: int) -> Snapshot:
        activity = self._activity
        running = tuple(itertools.islice(activity.running.values(), most))
        return Snapshot(activity.clock(), running, len(activity.running), tuple(self._recent), activity.wakes)

    def _erase_wrapped(self, width: int) -> None:
        """After the window got narrower: a terminal wraps what is longer, so the last picture is higher than drawn."""
        extra = sum(-(-max(_cells(line), 1) // max(width, 1)) - 1 for line in self._shown)
        if extra > 0:
            erase = (ControlType.ERASE_IN_LINE, 2)
            self._console.control(Control(ControlType.CARRIAGE_RETURN, erase, *((ControlType.CURSOR_UP, 1), erase) * extra))

    def _takes_output(self) -> bool:
        """False while a terminal is stopped (Ctrl-S) or too slow: writing would block the whole program."""
        if sys.platform == "win32":
            return True
        try:
            return bool(select.select([], [self._console.file], [], 0)[1])
        except (ValueError, OSError):  # no file descriptor at all
            return True

    def _end(self, live: Live) -> None:
        """Leaves the log's lines, a cursor, and nothing else."""
        with contextlib.suppress(OSError):
            if live.is_started:
                if self._console.size != self._size:
                    self._erase_wrapped(self._console.size.width)
                self._picture.text = Text("")
                if said := self._log.taken():
                    self._console.print(*said, sep="\n", soft_wrap=True)
        live.stop()


def _cells(line: Line) -> int:
    return Text.assemble(*line).cell_len


@contextlib.contextmanager
def _told_of_resizes(tell: Callable[[], None]) -> Iterator[None]:
    """Where the system says nothing, the next look notices."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGWINCH, tell)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
