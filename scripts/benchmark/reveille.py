"""Reveille as a contender: a Redis with its append-only file, one broker, one publisher.

Two contenders share the broker and its Redis: `reveille` with the real publisher
and the mock backend, `reveille-canned` with the one that answers at once. Only
the broker is the gateway under test; the others run on the load's core.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
from dataclasses import dataclass

from benchmark.contenders import Contender, python
from benchmark.cores import Cores
from benchmark.processes import Process, Yard
from benchmark.ready import answers, wait_until
from broker.embedded.binary import find_binary
from ports import free_port

#: More than any cell has clients, so that no request waits for a slot.
SLOTS = 512


@dataclass(frozen=True)
class Relay:
    """One broker process and its Redis."""

    port: int
    broker: Process
    redis: Process
    socket: pathlib.Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def relay(yard: Yard, cores: Cores, name: str = "", settings: dict[str, str] | None = None) -> Relay:
    """Starts Redis and broker, with these settings; returns when the broker says that it is healthy."""
    redis, path = _redis(yard, cores, name)
    port = free_port()
    command = python("broker", "serve", "--host", "127.0.0.1", "--port", str(port))
    broker = yard.start(f"broker{name}", command, cores={cores.gateway}, env={**(settings or {}), "REDIS_URL": f"unix://{path}"})
    wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), for_processes=[redis, broker], limit_s=20)
    return Relay(port, broker, redis, path)


def _redis(yard: Yard, cores: Cores, name: str) -> tuple[Process, pathlib.Path]:
    data = yard.directory / f"redis{name}"
    data.mkdir()
    path = data / "s"
    command = [
        str(find_binary()), "--port", "0", "--unixsocket", str(path), "--dir", str(data),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
    ]
    process = yard.start(f"redis{name}", command, cores={cores.rest})
    pong = "+PONG\r\n"
    wait_until(lambda: "" if redis_says(path, "PING") == pong else "no PONG", for_processes=[process], limit_s=10)
    return process, path


def redis_says(path: pathlib.Path, *words: str) -> str:
    """The raw reply to one inline command, empty while the server is not there."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(" ".join(words).encode() + b"\r\n")
        reply = connection.recv(65536)
        if reply.startswith(b"$"):
            size = int(reply[1 : reply.index(b"\r\n")]) + reply.index(b"\r\n") + 4
            while len(reply) < size:
                reply += connection.recv(65536)
        return reply.decode()
    return ""


def with_real_publisher(yard: Yard, cores: Cores, behind: Relay, backend: Contender) -> Contender:
    name = "bench-real"
    publisher = yard.start("publisher", publisher_command(yard, behind.url, backend, name), cores={cores.rest})
    return _ready("reveille", behind, name, publisher)


def publisher_command(yard: Yard, broker_url: str, backend: Contender, name: str) -> list[str]:
    return python(
        "publisher", "run", "--broker", broker_url, "--backend", f"http://127.0.0.1:{backend.port}/v1",
        "--model", name, "--slots", str(SLOTS), "--session-file", str(yard.directory / f"session-{name}.json"),
    )


def with_canned_publisher(yard: Yard, cores: Cores, behind: Relay) -> Contender:
    name = "bench-canned"
    options = json.dumps({"port": behind.port, "name": name, "slots": SLOTS})
    publisher = yard.start("canned", python("benchmark.canned", options), cores={cores.rest})
    return _ready("reveille-canned", behind, name, publisher)


def _ready(label: str, behind: Relay, model: str, publisher: Process) -> Contender:
    parts = {"broker": behind.broker, "publisher": publisher, "redis": behind.redis}
    contender = Contender(label, behind.port, model=model, parts=parts)
    contender.wait(20)
    return contender
