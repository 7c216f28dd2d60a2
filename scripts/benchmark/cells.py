"""The measured situations, and how one of them is measured.

A cell is a load against a contender: warm up, then a window in which answers
are counted and the CPU clocks of the contender's processes are read at both
ends. Repeats are combined by their median; errors are summed, never dropped.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass

from benchmark.contenders import Contender, python
from benchmark.cores import Cores
from benchmark.processes import BenchError, Process, Yard
from benchmark.shapes import CHAT, MESSAGES

#: Long enough for 256 clients to open their connections through a slow gateway.
_WARM_S = 2.0
#: Counts: one repeat's trouble must not vanish in a median.
_SUMMED = ("errors", "behind", "completed", "streams")


@dataclass(frozen=True)
class Cell:
    """`tokens` above 0 makes it a streaming cell; `delay_ms` paces its tokens. `path` says whose API is asked;
    only Reveille has others than OpenAI's."""

    name: str
    title: str
    clients: int
    tokens: int = 0
    delay_ms: int = 0
    path: str = CHAT

    def takes(self, contender: Contender) -> bool:
        return self.path == CHAT or contender.name.startswith("reveille")

    @property
    def streaming(self) -> bool:
        return self.tokens > 0

    @property
    def paced(self) -> bool:
        return self.delay_ms > 0

    @property
    def stream_s(self) -> float:
        return self.tokens * self.delay_ms / 1000


CELLS = (
    Cell("json1", "non-streaming, 1 client", 1),
    Cell("json32", "non-streaming, 32 clients", 32),
    Cell("json256", "non-streaming, 256 clients", 256),
    Cell("flat50", "50 streams of 200 chunks, flat out", 50, tokens=200),
    Cell("paced100", "100 streams of 100 chunks, 20 ms per token", 100, tokens=100, delay_ms=20),
    Cell("messages32", "Anthropic's API, non-streaming, 32 clients", 32, path=MESSAGES),
    Cell(
        "messages100", "Anthropic's API, 100 streams of 100 chunks, 20 ms per token", 100,
        tokens=100, delay_ms=20, path=MESSAGES,
    ),
)


def measure(cell: Cell, contender: Contender, yard: Yard, cores: Cores, *, seconds: float) -> dict:
    """One repeat: the load's own figures, `cpu_ms` per answer (or chunk) of each part, and
    `core_wait`, the share of the window in which the one under test had to wait for its core."""
    # A paced window must hold whole streams, or none of them would be seen from first to last token.
    options = {
        "port": contender.port, "path": cell.path, "model": contender.model, "key": contender.key,
        "clients": cell.clients, "warm_s": _WARM_S, "seconds": max(seconds, 2 * cell.stream_s),
    }
    module = "benchmark.load"
    if cell.streaming:
        module = "benchmark.streams"
        options |= {"tokens": cell.tokens, "delay_us": cell.delay_ms * 1000}
    load = yard.start("load", python(module, json.dumps(options)), cores={cores.rest}, pipe=True)
    try:
        _expect(load, "begin")
        before = _clocks(contender)
        _expect(load, "end")
        after = _clocks(contender)
        result = json.loads(load.stdout.readline() or b"null")
    finally:
        yard.stop(load)
    if result is None:
        raise BenchError(f"the load said nothing:\n{load.last_lines()}")
    if not result["completed"]:
        result["errors"] += 1
        result["first_error"] = result["first_error"] or "nothing was answered within the window"
    count = result["completed"] or float("nan")
    used = {name: after[name][0] - before[name][0] for name in before}
    result["cpu_ms"] = {name: cpu_s * 1000 / count for name, cpu_s in used.items()}
    under_test = next(iter(contender.parts))
    result["core_wait"] = (after[under_test][1] - before[under_test][1]) / options["seconds"]
    return result


def _clocks(contender: Contender) -> dict[str, tuple[float, float]]:
    return {name: (part.cpu_s(), part.waited_s()) for name, part in contender.parts.items()}


def _expect(load: Process, word: str) -> None:
    line = load.stdout.readline().decode().strip()
    if line != word:
        raise BenchError(f"the load ended early (it said {line!r}):\n{load.last_lines()}")


def combined(repeats: list[dict]) -> dict:
    """The median of each figure over the repeats, with `lowest` and `highest` of the rate."""
    first = repeats[0]
    rate = "chunks_per_s" if "chunks_per_s" in first else "rps"
    result: dict = {}
    for key, value in first.items():
        values = [repeat[key] for repeat in repeats]
        if key in _SUMMED:
            result[key] = sum(values)
        elif isinstance(value, dict):
            result[key] = {name: statistics.median(each[name] for each in values) for name in value}
        elif isinstance(value, str):
            result[key] = next((text for text in values if text), "")
        else:
            result[key] = statistics.median(values)
    result["lowest"], result["highest"] = (pick(repeat[rate] for repeat in repeats) for pick in (min, max))
    return result
