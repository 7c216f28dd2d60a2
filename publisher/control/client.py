"""Finds the publisher that runs here, and asks it.

Blocking, and light to load: completion asks at every press of a key. It never
starts a publisher and never reads a config.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from publisher.control.place import Place, everywhere
from publisher.control.reach import connect
from publisher.control.refused import Refused
from publisher.status import Status

LIMIT_S = 5.0
TICK_S = 0.5


class NotFound(Exception):
    """No publisher that could be meant; the text says what to do."""


class Running:
    """One publisher, by its socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self, limit_s: float = LIMIT_S) -> Status:
        try:
            return msgspec.convert(self.ask("status", limit_s=limit_s), Status)
        except msgspec.ValidationError:
            raise Refused("the publisher that runs here is of another version: start it again") from None

    def ask(
        self, do: str, *, limit_s: float | None = LIMIT_S, waiting: Callable[[float], None] = lambda s: None, **more
    ) -> object:
        """``waiting`` is told every half second how long it takes. Raises ``Refused``."""
        with self._said(do, **more) as connection:
            began = time.monotonic()
            line = bytearray()
            while not line.endswith(b"\n"):
                waited = time.monotonic() - began
                if limit_s is not None and waited > limit_s:
                    raise Refused("the publisher does not answer: is it stopped, or very busy?")
                with contextlib.suppress(TimeoutError):
                    line += _received(connection)
                    continue
                waiting(waited)
            return _value(line)

    def follow(self, last: int) -> Iterator[str]:
        """The last lines of its log, and every one from now on, until it ends."""
        with self._said("follow", last=last) as connection:
            rest = b""
            while True:
                try:
                    *lines, rest = (rest + _received(connection)).split(b"\n")
                except TimeoutError:
                    continue
                except Refused:
                    return
                for line in lines:
                    yield str(_value(line))

    @contextlib.contextmanager
    def _said(self, do: str, **more: object) -> Iterator[socket.socket]:
        try:
            connection, token = connect(self._path)
        except OSError:
            raise Refused("the publisher has just ended") from None
        with connection:
            connection.settimeout(TICK_S)
            order = {"do": do, **more, **({"token": token} if token else {})}
            try:
                connection.sendall(msgspec.json.encode(order) + b"\n")
            except OSError:
                raise Refused("the publisher does not listen") from None
            yield connection


def running(config: Path | None = None, pid: int | None = None, limit_s: float = LIMIT_S) -> Running:
    """The one that is meant: by its config file, by its process, or as the only one. Raises ``NotFound``."""
    if config is not None:
        found = _alive(Place.of(config).paths)
        if not found:
            raise NotFound(f"no publisher runs from {config}: start one with publisher run --config {config}")
        return found[0]
    found = _alive(everywhere())
    if len(found) > 1 or pid is not None:
        return _chosen(found, pid, limit_s)
    if not found:
        raise NotFound("no publisher runs here: start one with publisher run")
    return found[0]


def _alive(paths) -> list[Running]:
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            connect(path)[0].close()
            found.append(Running(path))
    return found


def _chosen(found: list[Running], pid: int | None, limit_s: float) -> Running:
    told = []
    for one in found:
        try:
            status = one.status(limit_s)
        except Refused as err:
            told.append(f"  one that cannot be asked: {err}")
            continue
        if status.pid == pid:
            return one
        started = f"--config {status.config}" if status.config else "started by flags"
        told.append(f"  --pid {status.pid}  {started}  {', '.join(row.name for row in status.rows[:5])}".rstrip())
    if pid is not None:
        raise NotFound(f"no publisher runs here with the process id {pid}")
    raise NotFound("\n".join(["several publishers run here: say which by --config or --pid", *told]))


def _received(connection: socket.socket) -> bytes:
    try:
        block = connection.recv(1 << 16)
    except TimeoutError:
        raise
    except OSError:
        block = b""
    if not block:
        raise Refused("the publisher ended before it answered")
    return block


def _value(line: bytes | bytearray) -> object:
    try:
        answer = msgspec.json.decode(line)
        return answer["ok"] if "ok" in answer else _refuse(answer["error"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise Refused("the publisher's answer is not understood: is it of another version?") from None


def _refuse(text: str) -> None:
    raise Refused(text)
