"""Waiting for what was started: a first answer, a limit that names who was late."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable

from benchmark.processes import BenchError, Process


def answers(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
    """Empty when the URL answers 200, else what it did instead."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
            return "" if answer.status == 200 else f"status {answer.status}"
    except urllib.error.HTTPError as refusal:
        return f"status {refusal.code}: {refusal.read(300).decode(errors='replace')}"
    except OSError as failure:
        return str(failure)


def lists(broker: str, names: list[str]) -> str:
    """Empty when the broker lists them all, else how many it does."""
    try:
        with urllib.request.urlopen(f"{broker}/api/v1/llms", timeout=30) as answer:
            there = {row["name"] for row in json.load(answer)}
    except OSError as failure:
        return str(failure)
    missing = len(set(names) - there)
    return f"{missing} of {len(names)} rows are not there" if missing else ""


def wait_until(
    attempt: Callable[[], str], *, for_processes: Iterable[Process], limit_s: float, every_s: float = 0.02
) -> float:
    """Repeats the attempt until it returns no complaint; the seconds that took."""
    began = time.perf_counter()
    while complaint := attempt():
        for process in for_processes:
            process.ensure_running()
        if time.perf_counter() - began > limit_s:
            names = ", ".join(process.name for process in for_processes)
            raise BenchError(f"{names}: not ready after {limit_s:.0f} s: {complaint}")
        time.sleep(every_s)
    return time.perf_counter() - began
