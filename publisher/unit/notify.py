"""Tells systemd how the start goes, as ``Type=notify`` of a unit asks for.

Without systemd it does nothing; that nobody listens is never an error.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """``state``: lines such as ``READY=1``, ``STOPPING=1``, ``STATUS=waits for the broker``."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.setblocking(False)  # a full queue must not hold up what is told about
        speaker.sendto(state.encode(), "\0" + path[1:] if path[0] == "@" else path)
