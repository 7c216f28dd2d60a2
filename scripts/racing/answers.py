"""What every request came to, and what is wrong with it. It asks nobody anything."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Asked:
    """One request. ``marker``: words that no other request has, and that its answer must consist of."""

    marker: str
    row: str
    words: int
    status: int = 0
    said: str = ""
    note: str = ""  # how it ended, where that was no answer
    ended: int = 0  # so often it was told that it is over
    seconds: float = 0.0

    @property
    def wanted(self) -> str:
        return "".join(f"{self.marker}{number} " for number in range(self.words))


@dataclass
class Answers:
    asked: list[Asked] = field(default_factory=list)

    def wrong(self, served: Counter[str]) -> list[str]:
        """``served``: how often each marker reached an engine."""
        return [f"{one.marker} ({one.row}): {what}" for one in self.asked if (what := _wrong(one, served[one.marker]))]

    def percentile(self, share: float) -> float:
        """Of the seconds that an answer took."""
        took = sorted(one.seconds for one in self.asked)
        return took[min(len(took) - 1, int(len(took) * share))] if took else 0.0


def _wrong(one: Asked, served: int) -> str:
    if one.status != 200 or one.note:
        return f"{one.status}: {one.note or 'no word why'}"
    if one.ended != 1:
        return f"it ended {one.ended} times"
    if one.said != one.wanted:
        return f"it was answered {one.said[:80]!r} instead of {one.wanted[:80]!r}"
    if served != 1:
        return f"it reached the engine {served} times"
    return ""
