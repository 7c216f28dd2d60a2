"""How long a fresh machine waits: from `broker up` to the first answered inference.

With the embedded server, an empty data directory and the real publisher, which
is started as soon as the broker is healthy. Unpinned, as a user would run it.
"""

from __future__ import annotations

import statistics
import time

from benchmark.contenders import Contender, python
from benchmark.cores import Cores
from benchmark.processes import Yard
from benchmark.ready import answers, wait_until
from benchmark.reveille import publisher_command
from ports import free_port

_POLL_S = 0.005


def start_up(yard: Yard, cores: Cores, backend: Contender, *, repeats: int) -> dict:
    runs = [_once(yard, cores, backend, number) for number in range(repeats)]
    return {
        "healthy_s": statistics.median(healthy for healthy, _ in runs),
        "first_answer_s": statistics.median(answered for _, answered in runs),
        "repeats": repeats,
    }


def _once(yard: Yard, cores: Cores, backend: Contender, number: int) -> tuple[float, float]:
    port, name = free_port(), f"start-{number}"
    environment = {"REVEILLE_DATA_DIR": str(yard.directory / f"data-{number}"), "REDIS_URL": ""}
    began = time.perf_counter()
    command = python("broker", "up", "--host", "127.0.0.1", "--port", str(port))
    broker = yard.start(f"up-{number}", command, cores=cores.both, env=environment)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: answers(f"{url}/healthz"), for_processes=[broker], limit_s=20, every_s=_POLL_S)
    healthy = time.perf_counter() - began
    publisher = yard.start(f"up-publisher-{number}", publisher_command(yard, url, backend, name), cores=cores.both)
    contender = Contender("start", port, model=name)
    wait_until(contender.complaint, for_processes=[broker, publisher], limit_s=20, every_s=_POLL_S)
    answered = time.perf_counter() - began
    yard.stop(publisher)
    yard.stop(broker)
    return healthy, answered
