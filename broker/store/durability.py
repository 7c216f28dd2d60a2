"""What this Redis promises, and what is wrong with it.

Asks a cold client for INFO, a few CONFIG values and the clock, and judges the
answers (``verdict``). Reads only; a server that forbids CONFIG, as most hosted
ones do, is judged by what it does tell. Of a Cluster every primary is asked.
Used by ``broker check``; it changes nothing and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from redis.asyncio import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ResponseError

from .address import CLUSTER, SENTINEL, SINGLE
from .verdict import ERROR, OK, WARN, Facts, Finding, findings_of, promise_of

#: By name, never all of them: CONFIG also holds passwords.
_SETTINGS = ("maxmemory-policy", "appendfsync", "save", "stop-writes-on-bgsave-error")
_REPLICATED = "A failover may lose what the new primary had not received yet."

_COLOURS = {OK: "\x1b[32m", WARN: "\x1b[33m", ERROR: "\x1b[31m"}

Ask = Callable[..., Awaitable]


@dataclass(frozen=True)
class Report:
    """``server``, ``mode`` and ``promise`` are for reading; ``findings`` for acting."""

    server: str
    mode: str
    promise: str
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> str:
        """The worst of all findings: ok, warn or error."""
        return max((each.severity for each in self.findings), key=(OK, WARN, ERROR).index)

    @property
    def broken(self) -> bool:
        """Whether something must be mended before work is entrusted to it."""
        return self.severity == ERROR

    def as_text(self, *, colour: bool = False) -> str:
        """For a terminal: what it is, what it promises, then one line for each finding."""
        lines = [f"{self.server}, {self.mode}", self.promise, ""]
        for each in self.findings:
            mark = f"{each.severity:5}"
            lines.append(f"{_COLOURS[each.severity]}{mark}\x1b[0m" if colour else mark)
            lines[-1] += f" {each.text}"
            if each.remedy:
                lines.append(f"      -> {each.remedy}")
        return "\n".join(lines)

    def as_dict(self) -> dict:
        return {"severity": self.severity, **asdict(self)}


async def examine(client, *, now: Callable[[], float] = time.time) -> Report:
    """Look at what is behind a cold client; raises as it does when nobody answers."""
    mode = _mode(client)
    servers = [
        await _read(ask, name, now, in_cluster=mode == CLUSTER)
        for name, ask in await _servers(client)
    ]
    weakest = max((promise_of(facts) for facts in servers), key=lambda promise: promise.weakness)
    replicated = any(int(facts.info.get("connected_slaves", 0)) for facts in servers)
    return Report(
        server=" and ".join(sorted({facts.product for facts in servers})),
        mode=mode,
        promise=f"{weakest.sentence} {_REPLICATED}" if replicated else weakest.sentence,
        findings=tuple(finding for facts in servers for finding in findings_of(facts)),
    )


def _mode(client) -> str:
    if isinstance(client, RedisCluster):
        return CLUSTER
    return SENTINEL if isinstance(client.connection_pool, SentinelConnectionPool) else SINGLE


async def _servers(client) -> list[tuple[str, Ask]]:
    """A name, empty when there is only one, and a way to ask it."""
    if not isinstance(client, RedisCluster):
        return [("", client.execute_command)]
    await client.initialize()

    def asking(node) -> Ask:
        return lambda *command: client.execute_command(*command, target_nodes=node)

    return [(node.name, asking(node)) for node in client.get_primaries()]


async def _read(ask: Ask, name: str, now: Callable[[], float], in_cluster: bool) -> Facts:
    info = await ask("INFO")
    try:
        config = await ask("CONFIG GET", *_SETTINGS)
    except ResponseError:
        config = {}
    before = now()
    seconds, microseconds = await ask("TIME")
    ours = (before + now()) / 2
    return Facts(name, info, config, seconds + microseconds / 1e6 - ours, in_cluster)
