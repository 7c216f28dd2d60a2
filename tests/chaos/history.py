"""What every client asked and got, and what of it breaks a promise.

It holds facts only; ``violations`` is the one judge. Times are of one monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

#: How much later than its deadline a request may end.
LATE_S = 1.0

OK, REFUSED, BROKEN, CUT, GARBLED = "ok", "refused", "broken", "cut", "garbled"


@dataclass
class Asked:
    """One request. ``ended_how``: ok · refused (a status) · broken (an in-stream error event) ·
    cut (the connection died) · garbled (no answer that a client could read)."""

    marker: str
    url: str
    tokens: int
    began_at: float
    deadline_s: float
    ended_at: float = 0.0
    ended_how: str = ""
    status: int = 0
    words: list[str] = field(default_factory=list)
    after_end: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def expected(self) -> list[str]:
        return [f"{self.marker}{number} " for number in range(self.tokens)]


@dataclass
class History:
    asked: list[Asked] = field(default_factory=list)
    #: When the replica at an address was down: [from, to].
    outages: dict[str, list[list[float]]] = field(default_factory=dict)
    deaths: Counter = field(default_factory=Counter)

    def down(self, url: str, at: float) -> None:
        self.outages.setdefault(url, []).append([at, float("inf")])

    def up(self, url: str, at: float) -> None:
        self.outages[url][-1][1] = at

    def counts(self) -> dict[str, int]:
        return dict(Counter(f"{one.ended_how} {one.status}" for one in self.asked))

    def violations(self, seen: Counter) -> list[str]:
        """Broken promises, in words. ``seen``: how often the backends got each marker."""
        found = []
        for one in self.asked:
            found += [f"{one.marker} ({one.ended_how} {one.status}) {what} {one.note}" for what in self._broken_by(one)]
            if seen[one.marker] > 1:
                found.append(f"{one.marker} was run {seen[one.marker]} times")
        return found

    def _broken_by(self, one: Asked):
        if not one.ended_how:
            yield "never ended"
            return
        late_s = one.ended_at - one.began_at - one.deadline_s
        if late_s > LATE_S:
            yield f"ended {late_s:.2f} s after its deadline"
        if one.words != one.expected[: len(one.words)]:
            yield f"got somebody else's or disordered words: {one.words}"
        if one.ended_how == OK and len(one.words) != one.tokens:
            yield f"ended well with {len(one.words)} of {one.tokens} words"
        if one.ended_how == GARBLED:
            yield "got something unreadable"
        if one.after_end:
            yield f"went on after its end: {one.after_end}"
        # A killed Redis may lack what it had answered but not yet written; the stream then ends with an error.
        lost_by_redis = one.ended_how == BROKEN and "frames of the answer were lost" in one.note and self.deaths["kill redis"]
        if one.ended_how in (REFUSED, BROKEN) and one.status not in (429, 503, 504) and not lost_by_redis:
            yield "was refused with a status that nothing here explains"
        if one.ended_how == CUT and not self._was_down(one):
            yield "lost its connection though its replica lived"

    def _was_down(self, one: Asked) -> bool:
        return any(start <= one.ended_at and one.began_at <= end for start, end in self.outages.get(one.url, ()))
