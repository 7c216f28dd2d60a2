"""Real Redis servers for the tests: one, a Cluster, or a pair with Sentinels.

Each is a context manager over processes of the same program; their logs lie in
the directory given, and nothing is left running. ``server`` has the process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from scripts.ports import free_ports

from .server import Server, running, single_server, until

__all__ = ["Cluster", "Sentinels", "Server", "cluster", "sentinel", "single_server", "until"]

SLOTS = 16384


class Cluster:
    """Primaries only, the slots in equal ranges."""

    def __init__(self, nodes: list[Server]) -> None:
        self.nodes = nodes
        self.ids = [node.ask("CLUSTER", "MYID").decode() for node in nodes]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def owner(self, slot: int) -> Server:
        """As the first node sees it."""
        for first, last, primary, *_ in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise LookupError(f"nobody owns slot {slot}")

    def move_slot(self, slot: int, to: Server) -> None:
        """With its keys, as resharding does; clients get MOVED from then on."""
        source, new_id = self.owner(slot), self.ids[self.nodes.index(to)]
        old_id = self.ids[self.nodes.index(source)]
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
        for node in (to, source, *self.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", new_id)


class Sentinels:
    """A primary called ``main``, one replica, and those who watch them."""

    name = "main"

    def __init__(self, data: list[Server], watchers: list[Server]) -> None:
        self.data, self.watchers = data, watchers

    @property
    def url(self) -> str:
        watchers = ",".join(f"127.0.0.1:{watcher.port}" for watcher in self.watchers)
        return f"redis+sentinel://{watchers}/{self.name}"

    @property
    def primary(self) -> Server:
        """As the first Sentinel sees it."""
        port = int(_primary_of(self.watchers[0])[b"port"])
        return next(server for server in self.data if server.port == port)

    def failover(self) -> Server:
        """An orderly one; returns the new primary when everybody knows it."""
        old = self.primary
        # Refused until this Sentinel has heard from the replica itself.
        order = ("SENTINEL", "FAILOVER", self.name)
        until(lambda: self.watchers[0].ask(*order), "a failover to be accepted", 20)
        return self._settled(old)

    def kill_primary(self) -> Server:
        """A crash; returns the new primary. The old one stays dead."""
        old = self.primary
        old.kill()
        return self._settled(old)

    def _settled(self, old: Server) -> Server:
        until(lambda: self.primary is not old, "another primary to be named", 30, old.log)
        new = self.primary
        until(lambda: new.ask("ROLE")[0] == b"master", "it to call itself one", 30, new.log)
        healthy = {b"port": b"%d" % new.port, b"flags": b"master"}
        for watcher in self.watchers:
            until(
                lambda w=watcher: healthy.items() <= _primary_of(w).items(),
                *("every Sentinel to name it", 30, watcher.log),
            )
        return new


@contextlib.contextmanager
def cluster(tmp: Path, nodes: int = 3) -> Iterator[Cluster]:
    ports = free_ports(2 * nodes)
    servers = [
        Server(
            tmp / f"node{number}",
            port=ports[number],
            arguments=(
                *("--cluster-enabled", "yes", "--cluster-port", ports[nodes + number]),
                *("--cluster-node-timeout", "2000", "--save", ""),
            ),
        )
        for number in range(nodes)
    ]
    with running(servers):
        for number, server in enumerate(servers):
            first, beyond = (SLOTS * edge // nodes for edge in (number, number + 1))
            server.ask("CLUSTER", "ADDSLOTSRANGE", first, beyond - 1)
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            servers[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port, ports[nodes + number])
        for server in servers:
            until(lambda s=server: _joined(s, nodes), f"{server.url} to join", 20, server.log)
        for server in servers:
            # A node that a busy machine kept from running for two seconds would be taken for dead, and the Cluster
            # would then answer nobody for four more. The short time above is for joining only.
            server.ask("CONFIG", "SET", "cluster-node-timeout", 60_000)
        yield Cluster(servers)


@contextlib.contextmanager
def sentinel(tmp: Path, watchers: int = 1) -> Iterator[Sentinels]:
    """The quorum is the majority of ``watchers``."""
    ports = free_ports(2 + watchers)
    quick = ("--save", "", "--repl-diskless-sync-delay", "0")
    follow = ("--replicaof", f"127.0.0.1 {ports[0]}")
    primary = Server(tmp / "primary", port=ports[0], arguments=quick)
    replica = Server(tmp / "replica", port=ports[1], arguments=(*follow, *quick))
    watching = [
        _watcher(tmp / f"sentinel{number}", port, primary.port, watchers // 2 + 1)
        for number, port in enumerate(ports[2:])
    ]
    with running([primary, replica]):
        until(lambda: b"state=online" in primary.ask("INFO", "replication"), "the replica", 20)
        with running(watching):
            for each in watching:
                until(lambda w=each: _sees(w, watchers - 1), "the Sentinels to meet", 20, each.log)
            yield Sentinels([primary, replica], watching)


def _watcher(folder: Path, port: int, primary_port: int, quorum: int) -> Server:
    """A Sentinel keeps its knowledge in its configuration file."""
    folder.mkdir(parents=True)
    configuration = folder / "sentinel.conf"
    name = Sentinels.name
    configuration.write_text(
        f"sentinel monitor {name} 127.0.0.1 {primary_port} {quorum}\n"
        f"sentinel down-after-milliseconds {name} 500\n"
        f"sentinel failover-timeout {name} 3000\n"
    )
    return Server(folder, port=port, arguments=(configuration, "--sentinel"))


def _joined(server: Server, nodes: int) -> bool:
    info = server.ask("CLUSTER", "INFO").decode()
    return "cluster_state:ok" in info and f"cluster_known_nodes:{nodes}\r" in info and (
        f"cluster_slots_ok:{SLOTS}\r" in info
    )


def _sees(watcher: Server, others: int) -> bool:
    seen = _primary_of(watcher)
    return seen[b"num-slaves"] == b"1" and seen[b"num-other-sentinels"] == b"%d" % others


def _primary_of(watcher: Server) -> dict[bytes, bytes]:
    fields = watcher.ask("SENTINEL", "MASTER", Sentinels.name)
    return dict(zip(fields[::2], fields[1::2], strict=True))
