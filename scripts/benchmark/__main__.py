"""The command line of the bench: what to measure, then the tables and the verdict.

Exit status 0 when every measured bar is met, 1 when one is missed, 2 when the
bench itself could not run.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import signal
import sys
import tempfile
import time

import click

from benchmark import contenders, footprint, report
from benchmark.bars import judged
from benchmark.bench import Bench, Plan
from benchmark.cells import CELLS
from benchmark.cores import Cores
from benchmark.machine import machine, noise_note
from benchmark.processes import BenchError, Yard

PROJECT = pathlib.Path(__file__).resolve().parents[2]
SINGLE = ("memory", "start", "publisher", "chat", "size", "fleet")
CONTENDERS = ("direct", "nginx", "passthrough", "litellm", "reveille", "reveille-canned")


def _names(known: tuple[str, ...]):
    def parse(context: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
        names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
        for name in names:
            if name not in known:
                raise click.BadParameter(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


_MEASUREMENTS = tuple(cell.name for cell in CELLS) + SINGLE


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="One repeat of one second: does all work? Not a measurement.")
@click.option("--only", callback=_names(_MEASUREMENTS), metavar="NAME,…", help=f"Of: {', '.join(_MEASUREMENTS)}.")
@click.option("--against", callback=_names(CONTENDERS), metavar="NAME,…", help=f"Of: {', '.join(CONTENDERS)}.")
@click.option("--seconds", type=click.FloatRange(min=0.2), help="Length of a measured window (default 3).")
@click.option("--repeat", type=click.IntRange(min=1), help="Repeats; medians are shown (default 3).")
@click.option("--litellm", is_flag=True, help="Also LiteLLM's proxy (installs some 600 MB into the cache, once).")
@click.option("--fleet", is_flag=True, help="Also measure 1,000 idle publishers.")
@click.option("--spinners", is_flag=True, help="Keep idle cores awake (virtual machines wake them late).")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE", help="Write every figure there.")
def main(quick: bool, only: tuple[str, ...], against: tuple[str, ...], seconds: float | None, repeat: int | None,
         litellm: bool, fleet: bool, spinners: bool, json_file: str | None) -> None:
    """Measures Reveille beside other ways to reach the same mock backend."""
    if not hasattr(os, "sched_setaffinity"):
        raise click.ClickException("the bench pins processes and reads /proc: run it on Linux")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = against or tuple(name for name in CONTENDERS if name != "litellm" or litellm)
    plan = Plan(
        measurements=only or tuple(name for name in _MEASUREMENTS if name != "fleet" or fleet),
        contenders=chosen,
        seconds=seconds or (1.0 if quick else 3.0),
        repeats=repeat or (1 if quick else 3),
    )
    try:
        result = _run(plan, Cores.of_this_machine(), spinners=spinners)
    except BenchError as failure:
        print(f"bench: {failure}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("bench: stopped; all its processes are ended", file=sys.stderr)
        sys.exit(130)
    if json_file:
        pathlib.Path(json_file).write_text(json.dumps(_without_nan(result), indent=1, ensure_ascii=False) + "\n")
    sys.exit(1 if any(bar["verdict"] == "FAIL" for bar in result["bars"]) else 0)


def _run(plan: Plan, cores: Cores, *, spinners: bool) -> dict:
    began = time.perf_counter()
    facts = machine(contenders.nginx_binary() if "nginx" in plan.contenders else None)
    print("; ".join(f"{name} {value}" for name, value in facts.items()))
    print(f"pinning: {cores.explain()}; {plan.repeats} × {plan.seconds:g} s per cell, contenders interleaved, medians")
    print(noise_note(spinners) + "\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Yard(pathlib.Path(directory)) as yard:
        # The bench itself belongs to the load's side.
        os.sched_setaffinity(0, {cores.rest})
        if spinners:
            for core in cores.both:
                yard.start(f"spinner-{core}", contenders.python("benchmark.spinner"), cores={core})
        bench = Bench(plan, cores, yard)
        bench.run()
        extra = bench.extra
        if "size" in plan.measurements:
            extra["size"] = footprint.footprint(PROJECT)
            largest = ", ".join(f"{name} {mb:.1f}" for name, mb in list(extra["size"]["packages"].items())[:8])
            print(f"size: {extra['size']['total_mb']:.1f} MB ({largest}, …)\n")
    bars = judged(bench.cells, extra)
    print(report.scale(bench.cells) + report.bars_table(bars))
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    return {
        "machine": facts, "pinning": cores.explain(), "spinners": spinners,
        "plan": {"seconds": plan.seconds, "repeats": plan.repeats},
        "cells": bench.cells, "repeats": bench.repeats, **extra, "bars": bars,
    }


def _without_nan(value: object) -> object:
    """JSON has no NaN, which is what a figure of nothing is."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    main(prog_name="scripts/bench")
