"""How long to wait before the next try: exponential, with full jitter.

Full jitter, so that a thousand publishers do not come back in the same second
after their broker was restarted. It never sleeps itself.
"""

from __future__ import annotations

import random


class Backoff:
    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._tries = 0

    def next_s(self) -> float:
        ceiling_s = min(self._most_s, self._first_s * 2 ** min(self._tries, 32))
        self._tries += 1
        return random.uniform(0, ceiling_s)

    def reset(self) -> None:
        self._tries = 0
