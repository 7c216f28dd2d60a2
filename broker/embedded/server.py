"""The embedded server: started, watched, restarted, stopped, by its one owner.

It listens on a unix socket only, keeps everything in an append-only file
(synced every second) and never throws data away to make room. A server that
exits by itself is started again, on the same socket. It never outlives its
owner (``launcher``) and never shares its data with a second one (``ownership``).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from pathlib import Path
from typing import Self

from . import ownership
from .binary import find_binary
from .errors import EmbeddedError
from .places import default_data_dir, forget_socket, make_data_dir, socket_path, socket_url
from .probe import Answer, ask_identity, ping
from .process import LOG, Process

log = logging.getLogger(__name__)


class EmbeddedServer:
    """``async with EmbeddedServer(data_dir) as server: connect(server.url)``.

    Start it where the process lives to its end (the main thread): the kernel
    counts the death of the starting thread as the owner's. Limits are seconds.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        binary: Path | None = None,
        ready_limit_s: float = 10.0,
        loading_limit_s: float = 300.0,
        takeover_limit_s: float = 15.0,
        stop_limit_s: float = 10.0,
        backoff_s: float = 0.1,
        backoff_limit_s: float = 5.0,
        leash: str = "linux" if sys.platform == "linux" else "pipe",
    ) -> None:
        self.data_dir = data_dir or default_data_dir()
        # Known once started:
        self.socket = Path()
        self.version = ""
        self.pid = 0
        self._binary = binary
        self._ready_limit_s = ready_limit_s
        self._loading_limit_s = loading_limit_s
        self._takeover_limit_s = takeover_limit_s
        self._stop_limit_s = stop_limit_s
        self._backoff_s = backoff_s
        self._backoff_limit_s = backoff_limit_s
        self._leash = leash
        self._lock: ownership.Lock | None = None
        self._process: Process | None = None
        self._watch: asyncio.Task | None = None

    @property
    def url(self) -> str:
        """As REDIS_URL would say it; it stays the same over restarts."""
        return socket_url(self.socket)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Own the data directory, and return when the server answers."""
        self._binary = self._binary or find_binary()
        self.data_dir = make_data_dir(self.data_dir)
        await self._own()
        try:
            self.socket = socket_path(self.data_dir)
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._keep_running(), name="embedded-server")

    async def stop(self) -> None:
        """Shut the server down cleanly and give the data directory up. Idempotent."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        if self._process:
            await self._process.end(self._stop_limit_s)
            self._process = None
        if self._lock:
            ownership.withdraw(self.data_dir)
            forget_socket(self.data_dir, self.socket)
            self._lock.let_go()
            self._lock = None

    async def _own(self) -> None:
        lock = ownership.owner_lock(self.data_dir)
        if not await _taken(lock, limit_s=0.3):
            raise EmbeddedError(
                f"The embedded Redis in {self.data_dir} belongs to the running process "
                f"{lock.signature()}. Stop that one, use another REVEILLE_DATA_DIR, "
                f"or run 'broker serve' to attach to it."
            )
        lock.sign()
        self._lock = lock

    async def _launch(self) -> None:
        """Start one server process and wait until it answers."""
        lock = ownership.server_lock(self.data_dir)
        if not await _taken(lock, limit_s=self._takeover_limit_s):
            raise EmbeddedError(
                f"An earlier server in {self.data_dir} is still running after "
                f"{self._takeover_limit_s:g} s. See {self.data_dir / LOG}, and end that process."
            )
        try:
            self._process = await Process.start(
                self._binary, self.data_dir, self.socket, lock_fd=lock.fd, leash=self._leash
            )
        finally:
            lock.let_go()  # the server holds it from here on
        await self._answers(self._process)
        self.version, self.pid = await ask_identity(self.socket)
        ownership.announce(
            self.data_dir, socket=self.socket, pid=self.pid, version=self.version
        )
        log.info("embedded %s answers on %s", self.version, self.socket)

    async def _answers(self, process: Process) -> None:
        """Wait for PONG. Loading a large file is progress and has its own, longer limit."""
        started = time.monotonic()
        limit_s = self._ready_limit_s
        pause_s = 0.002
        while True:
            answer = await ping(self.socket)
            if answer is Answer.PONG:
                return
            if answer is Answer.LOADING:
                limit_s = max(limit_s, self._loading_limit_s)
            if process.ended:
                raise EmbeddedError(f"The embedded Redis did not start. {process.last_words()}")
            if time.monotonic() - started > limit_s:
                raise EmbeddedError(
                    f"The embedded Redis did not answer within {limit_s:g} s. "
                    f"{process.last_words()}"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.1)

    async def _keep_running(self) -> None:
        """Whatever ends the server while we live, it comes back, ever less eagerly."""
        backoff_s = self._backoff_s
        while True:
            since = time.monotonic()
            code = await self._process.wait()
            if time.monotonic() - since > 10 * self._backoff_limit_s:
                backoff_s = self._backoff_s
            log.error(
                "embedded Redis ended (code %s); starting it again in %.1f s. %s",
                *(code, backoff_s, self._process.last_words()),
            )
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, self._backoff_limit_s)
            try:
                await self._launch()
            except (EmbeddedError, OSError) as error:
                log.error("embedded Redis could not be started again: %s", error)
                await self._process.end(self._stop_limit_s)


async def _taken(lock: ownership.Lock, limit_s: float) -> bool:
    give_up = time.monotonic() + limit_s
    while not lock.take():
        if time.monotonic() >= give_up:
            return False
        await asyncio.sleep(0.01)
    return True
