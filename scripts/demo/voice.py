"""How the story is told: one line per step, with the seconds since the start.

Colours only on a terminal that wants them (NO_COLOR). It knows nothing of what
it tells.
"""

from __future__ import annotations

import os
import time
from typing import TextIO

DIM, BOLD, GREEN, RED = "2", "1", "32", "31"
MARGIN = " " * 12


class Voice:
    def __init__(self, out: TextIO) -> None:
        out.reconfigure(errors="replace")
        self._out = out
        self._colours = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._began = time.monotonic()

    def begin(self, title: str) -> None:
        self._began = time.monotonic()
        self.say(f"\n{self._in(BOLD, title)}\n")

    def step(self, text: str, detail: str = "") -> None:
        """Something happened just now."""
        clock = f"{time.monotonic() - self._began:8.2f} s  "
        self.say(f"{self._in(DIM, clock)}{text}")
        if detail:
            self.say(f"{MARGIN}{self._in(DIM, detail)}")

    def margin(self) -> None:
        self._write(MARGIN)

    def token(self, text: str) -> None:
        """A piece of the LLM's answer, as it comes, but for what a terminal would obey."""
        shown = "".join(one if one.isprintable() or one == "\n" else "·" for one in text)
        self._write(self._in(GREEN, shown.replace("\n", f"\n{MARGIN}")))

    def line(self, who: str, text: str) -> None:
        """What a process says by itself."""
        self.say(self._in(DIM, f"{who:>10}  {text}"))

    def say(self, text: str) -> None:
        self._write(f"{text}\n")

    def failed(self, reason: str) -> None:
        self.say(f"\n{self._in(RED, 'This failed:')} {reason}")

    def _in(self, colour: str, text: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colours and text else text

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
