"""What a long thread costs before its LLM is asked: the broker reads all that was said and sends it along.

A turn on a thread of a thousand messages against a plain call of one, on the same broker, both to a public LLM:
how long until the LLM's server has the request whole, and the CPU of the whole call.
"""

from __future__ import annotations

import json
import statistics

from benchmark.contenders import python
from benchmark.cores import Cores
from benchmark.processes import BenchError, Yard
from benchmark.reveille import Relay, relay

_MESSAGES = 1000
_CALLS = 40


def long_thread(yard: Yard, cores: Cores, *, repeats: int) -> dict:
    behind = relay(yard, cores, "-chat", {"BROKER_UPSTREAM_ALLOW": "127.0.0.0/8"})
    runs = [_once(yard, cores, behind, number) for number in range(repeats)]
    yard.stop(behind.broker)
    yard.stop(behind.redis)
    figures = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {**figures, "repeats": repeats}


def _once(yard: Yard, cores: Cores, behind: Relay, number: int) -> dict:
    options = json.dumps({"port": behind.port, "messages": _MESSAGES, "calls": _CALLS, "name": f"bench-chat-{number}"})
    turns = yard.start("turns", python("benchmark.turns", options), cores={cores.rest}, pipe=True)
    try:
        clocks = []
        for word in ("turns", "plain", "end"):
            line = turns.stdout.readline().decode().strip()
            if line != word:
                raise BenchError(f"the turns ended early (they said {line!r}):\n{turns.last_lines()}")
            clocks.append((behind.broker.cpu_s(), behind.redis.cpu_s()))
        figures = json.loads(turns.stdout.readline())
    finally:
        yard.stop(turns)
    (turn_broker, turn_redis), (plain_broker, _) = (
        tuple((after - before) * 1e3 / _CALLS for before, after in zip(*pair)) for pair in (clocks[:2], clocks[1:])
    )
    return {**figures, "turn_broker_cpu_ms": turn_broker, "turn_redis_cpu_ms": turn_redis, "plain_broker_cpu_ms": plain_broker}
