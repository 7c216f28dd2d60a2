"""Ports at which nobody listens, for who will listen there later, or never.

They lie below those that systems give to outgoing connections and to port 0 (Linux: 32768 and up), so that nobody is
given one of them meanwhile, also while its server is down; and none is where ``publisher detect`` looks.
"""

from __future__ import annotations

import random
import socket

_RANGE = range(20_000, 30_000)

_dice = random.SystemRandom()
_given: set[int] = set()


def free_port(wish: int = 0) -> int:
    """The wished port if nobody has it, else any that is free. None of those is given again in this process."""
    port = wish
    while not port or not _is_free(port):
        port = _dice.choice([each for each in _RANGE if each not in _given])
        _given.add(port)
    return port


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what was closed just now is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
