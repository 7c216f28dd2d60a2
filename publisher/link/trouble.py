"""The last thing that went wrong in some part, for those who ask how it is."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    text: str = ""
    at: float = 0.0  # monotonic

    @classmethod
    def now(cls, what: object) -> Trouble:
        return cls(str(what), time.monotonic())
