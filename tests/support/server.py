"""One real Redis server process for a test, and what a test may do to it.

The program is the one that the embedded server uses. Its log lies in the
directory given; it is killed at the end, by its own handle. Nothing here is
asyncio, so that any test can use it. Clusters and Sentinels: ``servers``.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from broker.embedded.binary import find_binary
from scripts.ports import free_port


class Server:
    """One server process, on a TCP port or a unix socket, that tests may mistreat."""

    def __init__(
        self, folder: Path, *, port: int = 0, path: str | None = None, arguments: tuple = ()
    ) -> None:
        self.folder, self.port, self.path = folder, port, path
        self._arguments = arguments
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}" if self.path else f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        where = ["--unixsocket", self.path] if self.path else ["--bind", "127.0.0.1"]
        words = [*where, "--port", self.port, "--dir", self.folder, "--logfile", self.log_file]
        with open(self.log_file, "ab") as log:
            self._process = subprocess.Popen(
                [find_binary(), *map(str, (*self._arguments, *words))], stdout=log, stderr=log
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, limit_s: float = 20.0) -> None:
        until(lambda: self.ask("PING") == b"PONG", f"{self.url} to answer", limit_s, self.log)

    def kill(self) -> None:
        """As the kernel would: nothing is written down."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Freeze it: it holds its connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill it and start it again with the data it had."""
        self.kill()
        self.start()

    def end(self) -> None:
        if self._process and self._process.poll() is None:
            self.kill()

    def client(self, **options) -> redis.Redis:
        """A blocking client that never repeats a command."""
        options = {"socket_timeout": 10, "protocol": 2, "retry": Retry(NoBackoff(), 0)} | options
        return redis.Redis.from_url(self.url, **options)

    def ask(self, *command):
        with self.client() as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")[-2000:]


@contextlib.contextmanager
def single_server(tmp: Path, *arguments: str, tcp: bool = False) -> Iterator[Server]:
    """One server with an append-only file; ``arguments`` are more of its options."""
    durable = ("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction")
    with _socket_folder() as short:
        where = {"port": free_port()} if tcp else {"path": f"{short}/redis.sock"}
        server = Server(tmp / "single", **where, arguments=(*durable, *arguments))
        with running([server]):
            yield server


@contextlib.contextmanager
def running(servers: list[Server]) -> Iterator[None]:
    try:
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.wait_ready()
        yield
    finally:
        for server in servers:
            server.end()


def until(
    holds: Callable[[], object],
    what: str,
    limit_s: float = 20.0,
    evidence: Callable[[], str] = str,
) -> None:
    """Wait for a condition; a server that does not answer yet does not meet it."""
    give_up = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(RedisError, OSError):
            if holds():
                return
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {limit_s:g} s for {what}\n{evidence()}")
        time.sleep(0.01)


@contextlib.contextmanager
def _socket_folder() -> Iterator[str]:
    """pytest's own folders are too deep for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="rv") as folder:
        yield folder
