"""What a service runs: this very program with one config file, as absolute paths.

The same for every system. It writes nothing and asks no system anything.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import publisher

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    config: Path
    words: tuple[str, ...]  # the program and its arguments
    directory: Path | None  # where it must start to be found; None: anywhere
    search_path: str  # recipes find their programs as in the shell that installed
    env_file: Path  # may hold secrets; need not be there

    @classmethod
    def of(cls, name: str, config: Path) -> Job:
        config = config.absolute()
        program, directory = _program()
        words = (*program, "run", "--config", str(config))
        return cls(name, config, words, directory, os.environ.get("PATH", os.defpath), config.with_suffix(".env"))


def _program() -> tuple[tuple[str, ...], Path | None]:
    """Beside the interpreter of an environment lies the program; links are not followed, or its packages are lost."""
    python = Path(sys.executable).absolute()
    beside = python.with_name("publisher.exe" if sys.platform == "win32" else "publisher")
    if beside.is_file():
        return (str(beside),), None
    # `-m` looks for packages where it starts.
    return (str(python), "-m", "publisher"), Path(publisher.__file__).absolute().parents[1]
