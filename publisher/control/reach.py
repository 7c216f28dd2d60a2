"""Reaching a control socket: connects, or finds that nobody is there.

Plain blocking sockets with limits, so that the verbs need no event loop. It
follows no path into a folder that others may enter.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from publisher.control.place import Unusable, check

LIMIT_S = 2.0


def connect(path: Path) -> tuple[socket.socket, str]:
    """The connection, and what each question must carry. Raises ``OSError`` when nobody is there."""
    try:
        check(path.parent)
    except Unusable as err:
        raise OSError(str(err)) from None
    if path.suffix == ".port":
        try:
            told = json.loads(path.read_text())
            port, token = int(told["port"]), str(told["token"])
        except (ValueError, KeyError, TypeError):
            raise OSError(f"{path} is unreadable") from None
        return socket.create_connection(("127.0.0.1", port), LIMIT_S), token
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(LIMIT_S)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection, ""


def answers(path: Path) -> bool:
    """Whether somebody listens there."""
    try:
        connect(path)[0].close()
    except OSError:
        return False
    return True
