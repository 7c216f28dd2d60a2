"""What every client asked and got, what died when, and what of it breaks a promise.

It holds facts, and judges each request by itself; ``generations`` judges what backends made of them all. Times are of
one monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.support.waiting import BUSY_S

#: How much later than its deadline a request may end on a machine this busy.
LATE_S = 1.0 + BUSY_S

OK, REFUSED, BROKEN, CUT, GARBLED = "ok", "refused", "broken", "cut", "garbled"


@dataclass
class Asked:
    """One request. ``ended_how``: ok · refused (a status) · broken (an in-stream error event) · cut (the connection died) ·
    garbled (no answer that a client could read). ``kind``: plain · pooled · resumable · keyed. ``generations``: the ids of
    the backend's answers of which it heard something."""

    marker: str
    url: str
    tokens: int
    began_at: float
    deadline_s: float
    kind: str = "plain"
    model: str = ""
    ended_at: float = 0.0
    ended_how: str = ""
    status: int = 0
    words: list[str] = field(default_factory=list)
    generations: set[str] = field(default_factory=set)
    after_end: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def expected(self) -> list[str]:
        return [f"{self.marker}{number} " for number in range(self.tokens)]

    def hear(self, event: dict) -> None:
        """An event of its answer's stream."""
        self.generations.add(event["id"])
        self.words.append(event["choices"][0]["delta"]["content"])

    def end(self, how: str, note: str = "") -> None:
        self.ended_how, self.note = how, note


@dataclass
class Death:
    """``victim``: a publisher's name, a replica's address, ``redis``. ``back``: when it served again, at the latest."""

    deed: str
    victim: str
    at: float
    back: float = float("inf")


@dataclass
class History:
    asked: list[Asked] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    #: Durable tasks that were accepted.
    tasks: int = 0
    #: Broken promises that a client saw itself.
    told: list[str] = field(default_factory=list)

    def died(self, deed: str, victim: str, at: float) -> Death:
        death = Death(deed, victim, at)
        self.deaths.append(death)
        return death

    def counts(self) -> dict[str, int]:
        return dict(Counter(f"{one.kind} {one.ended_how} {one.status}" for one in self.asked))

    def deeds(self) -> dict[str, int]:
        return dict(Counter(death.deed for death in self.deaths))

    def was_down(self, victim: str, since: float, until: float) -> bool:
        return any(one.victim == victim and one.at <= until and since <= one.back for one in self.deaths)

    def violations(self) -> list[str]:
        """Broken promises, in words."""
        found = list(self.told)
        for one in self.asked:
            found += [f"{one.kind} {one.marker} ({one.ended_how} {one.status}) {what} {one.note}" for what in self._broken_by(one)]
        return found

    def _broken_by(self, one: Asked):
        if not one.ended_how:
            yield "never ended"
            return
        was_down = self.was_down(one.url, one.began_at, one.ended_at)
        late_s = one.ended_at - one.began_at - one.deadline_s
        # A replica that was stopped for a while says so late.
        if late_s > LATE_S and not was_down:
            yield f"ended {late_s:.2f} s after its deadline"
        if one.words != one.expected[: len(one.words)]:
            yield f"got somebody else's or disordered words: {one.words}"
        if len(one.generations) > 1:
            yield f"got a mixture of the answers {one.generations}"
        if one.ended_how == OK and len(one.words) != one.tokens:
            yield f"ended well with {len(one.words)} of {one.tokens} words"
        if one.ended_how == GARBLED:
            yield "got something unreadable"
        if one.after_end:
            yield f"went on after its end: {one.after_end}"
        if one.ended_how in (REFUSED, BROKEN) and one.status not in (429, 503, 504):
            yield "was refused with a status that nothing here explains"
        if one.ended_how == CUT and not was_down:
            yield "lost its connection though its replica lived"
