"""Judges what a Redis server said of itself: one sentence each, with a remedy.

Pure: facts in, findings out, so that every verdict can be tested without the
server that would deserve it. What is fine is said too, for ``broker check``
shows what was looked at.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

OK, WARN, ERROR = "ok", "warn", "error"

#: The oldest versions that the scripts run on.
FLOORS = {"Redis": (7, 0), "Valkey": (7, 2)}

_MEMORY_SHARE = 0.8
_CLOCK_LIMIT_S = 1.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at; ``remedy`` is empty exactly when it is ok."""

    severity: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Facts:
    """One server's INFO and CONFIG as redis-py reads them. ``config`` is empty
    where CONFIG is forbidden, ``name`` where there is only one server."""

    name: str
    info: dict[str, Any]
    config: dict[str, str]
    clock_ahead_s: float
    in_cluster: bool = False

    @property
    def brand(self) -> str:
        return "Valkey" if "valkey_version" in self.info else "Redis"

    @property
    def version(self) -> str:
        return str(self.info.get(f"{self.brand.lower()}_version", "unknown"))

    @property
    def product(self) -> str:
        return f"{self.brand} {self.version}"


class Promise(enum.Enum):
    """What survives which accident, strongest first."""

    ALWAYS = "An accepted task survives the death of any process and of the machine."
    EVERYSEC = (
        "An accepted task survives the death of any process, but for what a killed server had not "
        "written yet because its disk was slow; a machine that dies may lose the last two seconds."
    )
    UNTOLD = (
        "An accepted task survives the death of any process; what a machine that dies "
        "loses is not known, because the server does not tell how often it syncs its file."
    )
    LAZY = (
        "An accepted task survives the death of any process; "
        "a machine that dies may lose the last half minute."
    )
    SNAPSHOTS = "A server that dies loses everything since its last snapshot."
    NOTHING = "Nothing is kept on disk: a server that restarts has lost everything."

    @property
    def sentence(self) -> str:
        return self.value

    @property
    def weakness(self) -> int:
        return list(Promise).index(self)


def promise_of(facts: Facts) -> Promise:
    if facts.info.get("aof_enabled"):
        kept = {"always": Promise.ALWAYS, "everysec": Promise.EVERYSEC, "no": Promise.LAZY}
        return kept.get(facts.config.get("appendfsync", ""), Promise.UNTOLD)
    # Where CONFIG is forbidden, a snapshot of the past is the only sign of more to come.
    snapshots = facts.config.get("save", facts.info.get("rdb_saves"))
    return Promise.SNAPSHOTS if snapshots else Promise.NOTHING


def findings_of(facts: Facts) -> list[Finding]:
    where = f"{facts.name}: " if facts.name else ""
    judges = (_version, _role, _topology, _disk, _writes, _eviction, _memory, _clock)
    return [
        Finding(found.severity, where + found.text, found.remedy)
        for judge in judges
        for found in judge(facts)
    ]


def _version(facts: Facts) -> Iterator[Finding]:
    floor = FLOORS[facts.brand]
    numbers = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdigit())
    if numbers >= floor:
        yield Finding(OK, facts.product)
    else:
        oldest = ".".join(map(str, floor))
        yield Finding(
            ERROR,
            f"{facts.product} is older than {oldest}, the oldest that works",
            "Upgrade to Valkey 7.2 or Redis 7.0, or later.",
        )


def _role(facts: Facts) -> Iterator[Finding]:
    if facts.info.get("role", "master") == "master":
        yield Finding(OK, "it is a primary, so it takes writes")
    else:
        primary = f"{facts.info.get('master_host')}:{facts.info.get('master_port')}"
        yield Finding(
            ERROR,
            f"it is a read-only replica of {primary}",
            "Point REDIS_URL to the primary, or to the Sentinels with redis+sentinel://.",
        )


def _topology(facts: Facts) -> Iterator[Finding]:
    if facts.info.get("cluster_enabled") and not facts.in_cluster:
        yield Finding(
            ERROR,
            "it is a node of a Cluster, and most keys are on the others",
            "Write REDIS_URL as redis+cluster://host:port.",
        )


def _disk(facts: Facts) -> Iterator[Finding]:
    promise = promise_of(facts)
    remedy = (
        "Set 'appendonly yes' and 'appendfsync everysec' in the server's configuration "
        "(at run time: CONFIG SET appendonly yes)."
    )
    if promise is Promise.NOTHING:
        yield Finding(ERROR, "it keeps nothing on disk", remedy)
    elif promise is Promise.SNAPSHOTS:
        yield Finding(WARN, "it keeps snapshots only, no append-only file", remedy)
    elif promise is Promise.LAZY:
        yield Finding(WARN, "it leaves syncing its append-only file to the system", remedy)
    elif promise is Promise.UNTOLD:
        yield Finding(OK, "it keeps an append-only file (appendfsync is not told)")
    else:
        yield Finding(OK, f"it syncs its append-only file: {facts.config['appendfsync']}")


def _writes(facts: Facts) -> Iterator[Finding]:
    info = facts.info
    remedy = "Look at the server's log and at the free space on its disk."
    if info.get("loading"):
        yield Finding(WARN, "it is still loading its data", "Wait until it has read its file.")
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        yield Finding(ERROR, "its last write to the append-only file failed", remedy)
    if info.get("aof_enabled") and info.get("aof_last_bgrewrite_status", "ok") != "ok":
        yield Finding(WARN, "its append-only file could not be rewritten and grows", remedy)
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        stops = facts.config.get("stop-writes-on-bgsave-error") != "no"
        refuses = stops and facts.config.get("save", "not told") != ""
        yield Finding(
            ERROR if refuses else WARN,
            "its last snapshot failed" + (", so it refuses writes" if refuses else ""),
            remedy,
        )


def _eviction(facts: Facts) -> Iterator[Finding]:
    policy = facts.info.get("maxmemory_policy") or facts.config.get("maxmemory-policy")
    remedy = "Set 'maxmemory-policy noeviction' (CONFIG SET maxmemory-policy noeviction)."
    if policy == "noeviction":
        yield Finding(OK, "it never throws data away to make room")
    elif policy is None:
        yield Finding(WARN, "it does not tell its maxmemory-policy", remedy)
    elif facts.info.get("maxmemory"):
        yield Finding(ERROR, f"it throws data away when memory is short ({policy})", remedy)
    else:
        yield Finding(
            WARN, f"it would throw data away ({policy}), once a memory limit is set", remedy
        )


def _memory(facts: Facts) -> Iterator[Finding]:
    used = int(facts.info.get("used_memory", 0))
    limit = int(facts.info.get("maxmemory", 0)) or int(facts.info.get("total_system_memory", 0))
    if not limit:
        return
    text = f"it uses {used / limit:.0%} of {limit / 2**20:,.0f} MiB of memory"
    if used <= _MEMORY_SHARE * limit:
        yield Finding(OK, text)
    else:
        yield Finding(
            ERROR if used >= limit else WARN,
            f"{text}; without memory it refuses new work",
            "Raise maxmemory or give the machine more memory; look for a queue nobody serves.",
        )


def _clock(facts: Facts) -> Iterator[Finding]:
    ahead_s = facts.clock_ahead_s
    if abs(ahead_s) <= _CLOCK_LIMIT_S:
        yield Finding(OK, "its clock agrees with ours")
    else:
        yield Finding(
            WARN,
            f"its clock is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} ours; "
            "decisions follow its clock, log lines ours",
            "Let both machines keep time by NTP.",
        )
