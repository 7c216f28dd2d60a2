"""``python -m publisher`` and the ``publisher`` command. Never more than the way in."""

from __future__ import annotations

import os
import sys

from publisher.cli.main import publisher
from publisher.terminal.gone import let_go


def main() -> None:
    hold_standard_files()
    try:
        publisher(prog_name="publisher")
    finally:
        let_go(sys.stdout)
        let_go(sys.stderr)


def hold_standard_files() -> None:
    """One that is closed (``2>&-``) would go to the first socket, and the event loop ends the program for that."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))


if __name__ == "__main__":
    main()
