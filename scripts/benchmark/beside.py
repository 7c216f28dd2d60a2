"""What the program beside someone's GPU costs: its start, its memory and its CPU while nobody asks.

The real publisher with a YAML config of some providers, as a service runs it: no
terminal, no live view. Started means that its rows are at the broker.
"""

from __future__ import annotations

import statistics
import time

from benchmark.contenders import Contender, python
from benchmark.cores import Cores
from benchmark.processes import Yard
from benchmark.ready import lists, wait_until
from benchmark.reveille import relay

_PROVIDERS = 4
_POLL_S = 0.005
_SETTLE_S = 5.0
_IDLE_S = 10.0


def publisher_idle(yard: Yard, cores: Cores, backend: Contender, *, repeats: int) -> dict:
    behind = relay(yard, cores, "-beside")
    runs = [_once(yard, cores, backend, behind.url, number) for number in range(repeats)]
    yard.stop(behind.broker)
    yard.stop(behind.redis)
    return {
        "start_s": statistics.median(start_s for start_s, _, _ in runs),
        "idle_mb": statistics.median(idle_mb for _, idle_mb, _ in runs),
        "idle_cpu_share": statistics.median(share for _, _, share in runs),
        "providers": _PROVIDERS,
        "repeats": repeats,
    }


def _once(yard: Yard, cores: Cores, backend: Contender, broker: str, number: int) -> tuple[float, float, float]:
    names = [f"beside-{number}-{provider}" for provider in range(_PROVIDERS)]
    config = yard.directory / f"beside-{number}.yaml"
    config.write_text(_config(broker, backend, names))
    command = python(
        "publisher", "run", "--config", str(config), "--session-file", str(yard.directory / f"beside-{number}.json")
    )
    began = time.perf_counter()
    publisher = yard.start(f"beside-{number}", command, cores=cores.both)
    wait_until(lambda: lists(broker, names), for_processes=[publisher], limit_s=20, every_s=_POLL_S)
    start_s = time.perf_counter() - began
    time.sleep(_SETTLE_S)
    used_s = publisher.cpu_s()
    time.sleep(_IDLE_S)
    share, idle_mb = (publisher.cpu_s() - used_s) / _IDLE_S, publisher.rss_mb()
    yard.stop(publisher)
    return start_s, idle_mb, share


def _config(broker: str, backend: Contender, names: list[str]) -> str:
    entries = "".join(
        f"  - name: {name}\n    url: http://127.0.0.1:{backend.port}/v1\n    model: {name}\n    publish: true\n"
        '    wake: {type: command, command: "true"}\n'
        for name in names
    )
    return f"broker: {broker}\nproviders:\n{entries}"
