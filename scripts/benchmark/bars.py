"""The bars: what Reveille promises about its speed and size, checked against one run.

A bar needs figures of certain cells and contenders; without them it is "not
measured", never passed. Each is judged on medians of the same run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

#: {cell: {contender: combined figures}} and the single figures beside them.
Figures = dict[str, dict[str, dict]]


@dataclass(frozen=True)
class Bar:
    """`value` raises KeyError when what it needs was not measured."""

    title: str
    limit: float
    at_most: bool
    unit: str
    value: Callable[[Figures, dict], float]

    def judge(self, cells: Figures, extra: dict) -> dict:
        try:
            value = self.value(cells, extra)
        except (KeyError, ZeroDivisionError):
            return {"bar": self.title, "limit": self.text(self.limit), "value": None, "verdict": "not measured"}
        passed = value <= self.limit if self.at_most else value >= self.limit
        return {
            "bar": self.title,
            "limit": self.text(self.limit),
            "value": value,
            "shown": "-" if math.isnan(value) else f"{value:.3g} {self.unit}".strip(),
            "verdict": "pass" if passed else "FAIL",
        }

    def text(self, limit: float) -> str:
        return f"{'≤' if self.at_most else '≥'} {limit:g} {self.unit}".strip()


def _cpu(cell: str, contender: str, *parts: str) -> Callable[[Figures, dict], float]:
    return lambda cells, extra: sum(cells[cell][contender]["cpu_ms"][part] for part in parts)


def _ratio(cell: str, figure: str, contender: str, other: str) -> Callable[[Figures, dict], float]:
    return lambda cells, extra: cells[cell][contender][figure] / cells[cell][other][figure]


def _added(cell: str, figure: str, contender: str) -> Callable[[Figures, dict], float]:
    return lambda cells, extra: cells[cell][contender][figure] - cells[cell]["direct"][figure]


def _times_cpu(cell: str, other: str) -> Callable[[Figures, dict], float]:
    """What the broker works for one of that cell, with the real publisher, against one of the other."""
    return lambda cells, extra: (
        cells[cell]["reveille"]["cpu_ms"]["broker"] / cells[other]["reveille"]["cpu_ms"]["broker"]
    )


def _errors(cells: Figures, extra: dict) -> float:
    counts = [of["errors"] for cell in cells.values() for name, of in cell.items() if name.startswith("reveille")]
    if not counts:
        raise KeyError("reveille")
    return sum(counts)


BARS = (
    Bar("32 clients: CPU per request, broker + Redis + publisher", 0.38, True, "ms",
        _cpu("json32", "reveille", "broker", "redis", "publisher")),
    Bar("32 clients: CPU per request, broker", 0.2, True, "ms", _cpu("json32", "reveille", "broker")),
    Bar("32 clients, canned publisher: requests/s over the pass-through's", 0.5, False, "×",
        _ratio("json32", "rps", "reveille-canned", "passthrough")),
    Bar("32 clients, canned publisher: requests/s over LiteLLM's", 40, False, "×",
        _ratio("json32", "rps", "reveille-canned", "litellm")),
    Bar("1 client: added p50", 1, True, "ms", _added("json1", "p50_ms", "reveille")),
    Bar("50 streams flat out: chunks/s over the pass-through's", 0.8, False, "×",
        _ratio("flat50", "chunks_per_s", "reveille", "passthrough")),
    Bar("50 streams flat out, canned publisher: the same", 0.8, False, "×",
        _ratio("flat50", "chunks_per_s", "reveille-canned", "passthrough")),
    Bar("100 streams, 20 ms per token: added time to first token, p50", 3, True, "ms",
        _added("paced100", "ttft_p50_ms", "reveille")),
    Bar("100 streams, 20 ms per token: added time to first token, p99", 10, True, "ms",
        _added("paced100", "ttft_p99_ms", "reveille")),
    Bar("100 streams, 20 ms per token: broker CPU per chunk", 80, True, "µs",
        lambda cells, extra: cells["paced100"]["reveille"]["cpu_ms"]["broker"] * 1000),
    Bar("100 streams, 20 ms per token: streams that fell behind", 0, True, "",
        lambda cells, extra: cells["paced100"]["reveille"]["behind"]),
    Bar("32 clients by Anthropic's API: broker CPU per request over OpenAI's", 1.5, True, "×",
        _times_cpu("messages32", "json32")),
    Bar("100 streams by Anthropic's API: broker CPU per chunk over OpenAI's", 1.5, True, "×",
        _times_cpu("messages100", "paced100")),
    Bar("requests that Reveille failed, all cells", 0, True, "", _errors),
    Bar("start to first answer, embedded server", 1.5, True, "s",
        lambda cells, extra: extra["start"]["first_answer_s"]),
    Bar("publisher: start to its rows being there", 0.5, True, "s",
        lambda cells, extra: extra["publisher"]["start_s"]),
    Bar("publisher: idle", 45, True, "MB",
        lambda cells, extra: extra["publisher"]["idle_mb"]),
    Bar("a turn on a thread of 1,000 messages: added until the LLM's server has it", 10, True, "ms",
        lambda cells, extra: extra["chat"]["added_ms"]),
    Bar("idle broker", 70, True, "MB",
        lambda cells, extra: extra["memory"]["reveille"]["broker"]["idle_mb"]),
    Bar("site-packages without pip and setuptools", 70, True, "MB",
        lambda cells, extra: extra["size"]["total_mb"]),
    Bar("1,000 idle publishers: broker memory each", 100, True, "KB",
        lambda cells, extra: extra["fleet"]["broker_kb_each"]),
    Bar("1,000 idle publishers: Redis connections", 50, True, "",
        lambda cells, extra: extra["fleet"]["redis_connections"]),
)


def judged(cells: Figures, extra: dict) -> list[dict]:
    return [bar.judge(cells, extra) for bar in BARS]
