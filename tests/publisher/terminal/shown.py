"""A program with the live view alone, for a test's terminal; told what to do by lines on a pipe.

``log TEXT`` · ``flood N`` · ``rows N`` · ``news NAME`` (a request ends) · ``begin TASK`` · ``crash`` (the status
breaks) · ``boom`` (the program breaks) · ``cpu`` · ``stop``. The second SIGINT ends it. With NOHUP it outlives
its terminal, with UVLOOP it runs on that loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time

from publisher.activity import Activity
from publisher.logs import set_up_logging
from publisher.status import BrokerStatus, RowStatus, Status
from publisher.terminal.request_lines import RequestLines
from publisher.terminal.view import View

log = logging.getLogger("publisher")


class Shown:
    def __init__(self, pipe: int, answers: int) -> None:
        self._pipe, self._answers = pipe, answers
        self._activity = Activity()
        self._rows = 2
        self._broken = False
        self._left = b""
        self._told = asyncio.Event()
        self._interrupts = 0
        self._stop = asyncio.Event()
        self._boom = asyncio.Event()

    def status(self) -> Status:
        if self._broken:
            raise ValueError("no status")
        rows = [RowStatus(f"model-{n}", "m", "ollama", "u", "active", 4) for n in range(self._rows)]
        broker = BrokerStatus("https://broker.example", "open", "ps_1", 200)
        return Status("1.0", 1, 200, brokers=[broker], rows=rows)

    async def run(self) -> None:
        view = View(self.status, self._activity)
        set_up_logging(False, False, view.log_handler())
        lines = RequestLines(self._activity)
        log.info("before the view")
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe, self._hear)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        showing = asyncio.create_task(view.run())
        waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._boom)]
        try:
            await asyncio.wait([*waits], return_when=asyncio.FIRST_COMPLETED)
            if self._boom.is_set():
                raise RuntimeError("boom")
            log.info("stopping")
        finally:
            lines.close()
            showing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await showing
            for wait in waits:
                wait.cancel()
        log.info("stopped")

    def _interrupted(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            log.info("first interrupt")
        else:
            self._stop.set()

    def _hear(self) -> None:
        data = os.read(self._pipe, 65536)
        *told, self._left = (self._left + data).split(b"\n")
        if not data:
            self._stop.set()
        for line in told:
            self._do(*line.decode().partition(" ")[::2])

    def _do(self, what: str, how: str) -> None:
        if what == "log":
            log.warning("%s", how)
        elif what == "flood":
            for n in range(int(how)):
                log.info("line %d", n)
        elif what == "rows":
            self._rows = int(how)
        elif what == "news":
            request = self._activity.began("t", how, "chat", True)
            request.started()
            request.block(3)
            request.ended("ok")
        elif what == "begin":
            self._activity.began(how, "model-0", "chat", True).started()
        elif what == "crash":
            self._broken = True
            log.warning("crashing")
        elif what == "boom":
            self._boom.set()
        elif what == "cpu":
            os.write(self._answers, f"{time.process_time()}\n".encode())
        elif what == "stop":
            self._stop.set()


if __name__ == "__main__":
    if os.environ.get("NOHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    factory = None
    if os.environ.get("UVLOOP"):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(Shown(int(sys.argv[1]), int(sys.argv[2])).run())
