"""Which process runs on which core.

The gateway under test has core A for itself; mock backend, load, Redis and
publisher share core B. With one core only, all share it, and the report says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """`gateway` and `rest` are core numbers; equal when there is one core only."""

    gateway: int
    rest: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[1] if len(usable) > 1 else usable[0])

    @property
    def both(self) -> set[int]:
        return {self.gateway, self.rest}

    def explain(self) -> str:
        if self.gateway == self.rest:
            return f"one core only ({self.gateway}): everything shares it, the throughput bars mean little"
        return (
            f"gateway under test on core {self.gateway}; mock backend, load, Redis and publisher "
            f"on core {self.rest} (start-up is measured unpinned on both)"
        )
