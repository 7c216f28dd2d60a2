"""What the figures were measured on, for whoever reads them elsewhere."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import subprocess
import time

_PACKAGES = ("aiohttp", "uvloop", "msgspec", "redis", "hiredis")


def machine(nginx: str | None) -> dict[str, str]:
    facts = {
        "cpu": f"{_cpu_model()} × {os.cpu_count()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    facts |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    if nginx:
        said = subprocess.run([nginx, "-v"], capture_output=True, text=True).stderr
        facts["nginx"] = said.rpartition("/")[2].strip()
    return facts


def _cpu_model() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def busy_share(over_s: float = 0.5) -> float:
    """The share of all cores that is in use, before the bench starts anything."""

    def idle_and_all() -> tuple[int, int]:
        ticks = [int(word) for word in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    idle_before, all_before = idle_and_all()
    time.sleep(over_s)
    idle, everything = idle_and_all()
    return 1 - (idle - idle_before) / max(1, everything - all_before)


def noise_note(spinners: bool) -> str:
    awake = "kept awake by SCHED_IDLE spinners" if spinners else "free to sleep (see --spinners)"
    return (
        f"machine {busy_share():.0%} busy with other things before the start; cores {awake}; "
        "compare ratios and CPU within this run only, they are good to about 25 %"
    )
