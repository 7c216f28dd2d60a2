"""A thousand idle publishers on one replica: what each costs in memory and connections.

On a broker and a Redis of their own, so that no load has grown them before.
"""

from __future__ import annotations

import json
import resource
import time

from benchmark.contenders import python
from benchmark.cores import Cores
from benchmark.processes import BenchError, Yard
from benchmark.reveille import Relay, redis_says, relay

#: Two sockets each in this machine's busiest process, and some room.
_FILES_EACH = 3
_SETTLE_S = 3.0


def idle_fleet(yard: Yard, cores: Cores, *, count: int) -> dict:
    raise_file_limit(count * _FILES_EACH + 200)
    behind = relay(yard, cores, "-fleet")
    time.sleep(_SETTLE_S)
    before = _figures(behind)
    began = time.perf_counter()
    idlers = yard.start("idlers", python("benchmark.idlers", json.dumps({"port": behind.port, "count": count})),
                        cores={cores.rest}, pipe=True)
    line = idlers.stdout.readline().decode().strip()
    if line != "ready":
        raise BenchError(f"the fleet did not come up (it said {line!r}):\n{idlers.last_lines()}")
    joined_s = time.perf_counter() - began
    time.sleep(_SETTLE_S)
    after = _figures(behind)
    busy = behind.broker.cpu_s()
    time.sleep(_SETTLE_S)
    idle_cpu = (behind.broker.cpu_s() - busy) / _SETTLE_S
    for process in (idlers, behind.broker, behind.redis):
        process.ensure_running()
        yard.stop(process)
    return {
        "count": count,
        "joined_s": joined_s,
        "broker_kb_each": (after["broker_mb"] - before["broker_mb"]) * 1024 / count,
        "redis_kb_each": (after["redis_mb"] - before["redis_mb"]) * 1024 / count,
        "redis_connections": after["connections"],
        "idle_cpu_share": idle_cpu,
    }


def _figures(behind: Relay) -> dict:
    information = redis_says(behind.socket, "INFO", "clients")
    connected = next(line.split(":")[1] for line in information.splitlines() if line.startswith("connected_clients:"))
    # One of them is the question itself.
    return {"broker_mb": behind.broker.rss_mb(), "redis_mb": behind.redis.rss_mb(), "connections": int(connected) - 1}


def raise_file_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchError(
            f"the fleet needs {wanted} open files, the hard limit is {hard}: raise it with `ulimit -Hn {wanted}`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
