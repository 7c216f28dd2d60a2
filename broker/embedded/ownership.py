"""One owner per data directory, and one server in it.

Two locks, both the kernel's, so that a ``kill -9`` frees them: ``owner.lock``
is held by the owner's process, ``server.lock`` by the server's (it inherits
the open file). A server of a dead owner that still shuts down therefore keeps
the next one waiting, whatever happened to process ids. ``server.json`` tells
others where the server is.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from .errors import EmbeddedError
from .places import socket_url

try:
    import fcntl
except ImportError:  # Windows: no such locks, and no server either.
    fcntl = None

_POLL_S = 0.02


class Lock:
    """An exclusive lock on a file, held as long as the file is open somewhere."""

    def __init__(self, path: Path) -> None:
        if fcntl is None:
            raise EmbeddedError("The embedded server needs Linux or macOS: set REDIS_URL.")
        self.path = path
        self.fd: int | None = None

    def take(self) -> bool:
        """Take it, or answer False at once."""
        fd = self._open(os.O_RDWR | os.O_CREAT)
        if self._lock(fd, fcntl.LOCK_EX):
            self.fd = fd
            return True
        os.close(fd)
        return False

    def sign(self) -> None:
        """Write our process id into it, for the message to the next who asks."""
        os.truncate(self.fd, 0)
        os.pwrite(self.fd, str(os.getpid()).encode(), 0)

    def signature(self) -> str:
        try:
            return self.path.read_text().strip() or "unknown"
        except OSError:
            return "unknown"

    def held(self) -> bool:
        """Whether anybody holds it. Looking shares it for a moment, so owners try twice."""
        if not self.path.exists():
            return False
        fd = self._open(os.O_RDWR)
        try:
            return not self._lock(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def let_go(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def _open(self, flags: int) -> int:
        try:
            return os.open(self.path, flags, 0o600)
        except OSError as error:
            raise self._unusable(error) from None

    def _lock(self, fd: int, kind: int) -> bool:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # a file system without locks
            raise self._unusable(error) from None
        return True

    def _unusable(self, error: OSError) -> EmbeddedError:
        return EmbeddedError(
            f"{self.path} cannot be locked ({error.strerror}). Choose a directory of this "
            f"user on a local disk with REVEILLE_DATA_DIR, or set REDIS_URL."
        )


def owner_lock(data_dir: Path) -> Lock:
    return Lock(data_dir / "owner.lock")


def server_lock(data_dir: Path) -> Lock:
    return Lock(data_dir / "server.lock")


def announce(data_dir: Path, *, socket: Path, pid: int, version: str) -> None:
    """Tell the other processes; they see the whole file or the one before it."""
    draft = data_dir / "server.json.new"
    card = {"socket": str(socket), "pid": pid, "version": version, "owner_pid": os.getpid()}
    draft.write_text(json.dumps(card) + "\n")
    draft.replace(data_dir / "server.json")


def withdraw(data_dir: Path) -> None:
    (data_dir / "server.json").unlink(missing_ok=True)


def attach(
    data_dir: Path, *, wait_s: float = 0.0, sleep: Callable[[float], None] = time.sleep
) -> str:
    """The URL of the server that somebody else owns, or EmbeddedError.

    Blocks up to ``wait_s`` for an owner that is just starting; call it before
    the event loop runs.
    """
    give_up = time.monotonic() + wait_s
    while True:
        socket = _announced(data_dir)
        if socket:
            return socket_url(Path(socket))
        if time.monotonic() >= give_up:
            raise EmbeddedError(
                f"No embedded Redis runs in {data_dir}. Start everything with 'broker up' "
                f"(or the server alone with 'python -m broker.embedded'), or set REDIS_URL."
            )
        sleep(_POLL_S)


def _announced(data_dir: Path) -> str | None:
    """What ``server.json`` says, if its owner lives."""
    if not owner_lock(data_dir).held():
        return None
    try:
        return json.loads((data_dir / "server.json").read_text())["socket"]
    except (OSError, ValueError, KeyError):
        return None
