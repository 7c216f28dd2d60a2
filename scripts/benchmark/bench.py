"""One run of the bench: starts the contenders, interleaves them, collects the figures."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from benchmark import contenders, report, reveille
from benchmark.beside import publisher_idle
from benchmark.cells import CELLS, Cell, combined, measure
from benchmark.chat import long_thread
from benchmark.contenders import Contender
from benchmark.cores import Cores
from benchmark.fleet import idle_fleet
from benchmark.litellm import litellm
from benchmark.processes import Yard
from benchmark.startup import start_up

_FLEET = 1000
_SETTLE_S = 1.0


@dataclass(frozen=True)
class Plan:
    """What was asked for."""

    measurements: tuple[str, ...]
    contenders: tuple[str, ...]
    seconds: float
    repeats: int


class Bench:
    """`cells`, `repeats` and `extra` are the figures, filled by `run`."""

    def __init__(self, plan: Plan, cores: Cores, yard: Yard) -> None:
        self._plan, self._cores, self._yard = plan, cores, yard
        self.cells: dict[str, dict[str, dict]] = {}
        self.repeats: dict[str, dict[str, list[dict]]] = {}
        self.extra: dict[str, dict] = {}

    def run(self) -> None:
        wanted = self._plan.measurements
        backend = contenders.direct(self._yard, self._cores)
        if "start" in wanted:
            self.extra["start"] = start_up(self._yard, self._cores, backend, repeats=self._plan.repeats)
            print(report.start_line(self.extra["start"]), flush=True)
        if "publisher" in wanted:
            self.extra["publisher"] = publisher_idle(self._yard, self._cores, backend, repeats=self._plan.repeats)
            print(report.publisher_line(self.extra["publisher"]), flush=True)
        if "chat" in wanted:
            self.extra["chat"] = long_thread(self._yard, self._cores, repeats=self._plan.repeats)
            print(report.chat_line(self.extra["chat"]), flush=True)
        if "fleet" in wanted:
            self.extra["fleet"] = idle_fleet(self._yard, self._cores, count=_FLEET)
            print(report.fleet_line(self.extra["fleet"]), flush=True)
        cells = [cell for cell in CELLS if cell.name in wanted]
        if not cells and "memory" not in wanted:
            return
        running = self._start(backend)
        time.sleep(_SETTLE_S)
        idle = self._memory(running)
        for cell in cells:
            self._measure(cell, running)
        if "memory" in wanted:
            self.extra["memory"] = _paired(idle, self._memory(running))
            print(f"memory\n{report.memory_table(self.extra['memory'])}\n", flush=True)

    def _start(self, backend: Contender) -> list[Contender]:
        yard, cores, names = self._yard, self._cores, self._plan.contenders
        started = [backend] if "direct" in names else []
        if "nginx" in names:
            if binary := contenders.nginx_binary():
                started.append(contenders.nginx(yard, cores, backend, binary))
            else:
                print("nginx is not installed: left out", file=sys.stderr)
        if "passthrough" in names:
            started.append(contenders.passthrough(yard, cores, backend))
        if "litellm" in names:
            started.append(litellm(yard, cores, backend))
        if "reveille" in names or "reveille-canned" in names:
            relay = reveille.relay(yard, cores)
            if "reveille" in names:
                started.append(reveille.with_real_publisher(yard, cores, relay, backend))
            if "reveille-canned" in names:
                started.append(reveille.with_canned_publisher(yard, cores, relay))
        return started

    def _measure(self, cell: Cell, running: list[Contender]) -> None:
        taking = [contender for contender in running if cell.takes(contender)]
        of: dict[str, list[dict]] = {contender.name: [] for contender in taking}
        for number in range(self._plan.repeats):
            for contender in taking:
                _progress(f"{cell.name} {number + 1}/{self._plan.repeats} {contender.name}")
                result = measure(cell, contender, self._yard, self._cores, seconds=self._plan.seconds)
                of[contender.name].append(result)
        _progress("")
        self.repeats[cell.name] = of
        figures = self.cells[cell.name] = {name: combined(results) for name, results in of.items()}
        print(f"{cell.title} ({cell.name})\n{report.cell_table(cell, figures)}")
        print(report.remarks(figures), flush=True)

    def _memory(self, running: list[Contender]) -> dict[str, dict[str, float]]:
        return {each.name: {part: process.rss_mb() for part, process in each.parts.items()} for each in running}


def _progress(text: str) -> None:
    """What runs now, on a line that the next one overwrites; only for a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)


def _paired(idle: dict, after: dict) -> dict:
    return {
        name: {part: {"idle_mb": idle[name][part], "after_mb": after[name][part]} for part in parts}
        for name, parts in after.items()
    }
