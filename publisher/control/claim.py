"""One publisher's hold on its control socket: taken at the start, let go at the end.

A lock beside the socket says that its publisher lives; the system drops it with
the process, so a socket without one is left behind and is replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
from pathlib import Path

from publisher.control.place import Place, Unusable, prepare
from publisher.control.reach import answers

BACKLOG = 64


class Taken(Exception):
    """Another publisher with the same config lives."""


class Claim:
    """``listener`` is a listening socket. ``token``: what every question must carry, where anybody can connect."""

    def __init__(self, place: Place) -> None:
        """Raises ``Taken`` or ``Unusable``."""
        self.token = ""
        refusals = []
        for path in place.paths:
            # Started from another environment, it may have chosen another folder.
            if any(answers(other) for other in place.paths if other != path):
                raise Taken
            try:
                self._take(path, place.by_tcp)
                return
            except Unusable as err:
                refusals.append(str(err))
        raise Unusable("; ".join(refusals))

    def _take(self, path: Path, by_tcp: bool) -> None:
        prepare(path)
        try:
            self._lock = _locked(path.with_suffix(".lock"))
            try:
                self.listener = self._by_tcp(path) if by_tcp else _by_path(path)
                self._path = path
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as err:
            raise Unusable(f"{path.parent} cannot be used: {err.strerror or err}") from None

    def _by_tcp(self, path: Path) -> socket.socket:
        self.token = secrets.token_urlsafe(24)
        listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        try:
            path.unlink(missing_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump({"port": listener.getsockname()[1], "token": self.token}, file)
        except BaseException:
            listener.close()
            raise
        return listener

    def release(self) -> None:
        self.listener.close()
        for path in (self._path, self._path.with_suffix(".lock")):
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                path.unlink()
        os.close(self._lock)


def _by_path(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _locked(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        _lock(handle)
        # One that just ended may have removed the file between: its lock would be no lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(handle)
        raise Taken from None
    except BaseException:
        os.close(handle)
        raise
