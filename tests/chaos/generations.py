"""What the backends made of all requests, and what of it was made once too often.

Who asks again has a reason: the one who had it died. So each answer that was begun, but for the last of a request, must
have lost its publisher, or its caller; and whatever a client heard is of the last one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass

from tests.chaos.history import OK, History
from tests.chaos.submitting import Task
from tests.support.backend_seen import seen
from tests.support.processes import Process

#: How long after the backend was through with it an answer may still be on its way at its publisher.
_ON_ITS_WAY_S = 1.5
_MOST_OF_A_POOL = 3


@dataclass
class Generation:
    """``name``: the id that its answer has."""

    name: str
    model: str
    began_at: float
    ended_at: float


Generations = dict[str, list[Generation]]


async def generations(backend: Process) -> Generations:
    """Of each marker, in the order of their beginnings."""
    found: Generations = defaultdict(list)
    for number, one in enumerate(await seen(backend), 1):
        body = json.loads(one["body"])
        if marker := body.get("script", {}).get("words"):
            ended_at = one["ended_at"] or float("inf")
            found[marker].append(Generation(f"c{number}", body["model"], one["began_at"], ended_at))
    return found


def violations(history: History, tasks: list[Task], made: Generations, callers: list[str]) -> list[str]:
    """Broken promises, in words. ``callers``: the replicas, which call the public LLM."""
    heard: dict[tuple[str, str], set[str]] = {}
    for one in history.asked:
        names = heard.setdefault((one.kind, one.marker), set())
        if one.kind != "keyed" or one.ended_how == OK:
            names |= one.generations
    found = []
    for task in tasks:
        heard["task", task.marker] = task.generations
        if len(made[task.marker]) > task.attempts:
            found.append(f"the task {task.marker} was run {len(made[task.marker])} times in {task.attempts} attempts")
    for (kind, marker), names in heard.items():
        ones = made[marker]
        if names and names != {ones[-1].name}:
            found.append(f"{kind} {marker}: heard {names}, though the last of {ones} follows")
        if len(ones) > 1 and kind == "plain" or len(ones) > _MOST_OF_A_POOL and kind == "pooled":
            found.append(f"{kind} {marker} was run {len(ones)} times: {ones}")
        for one in ones[:-1]:
            if not _lost(history, one, callers):
                found.append(f"{kind} {marker} was run again, though nobody had died who had {one} of {ones}")
    return found


def _lost(history: History, one: Generation, callers: list[str]) -> bool:
    """Whether somebody died who had it."""
    hands = [*callers, "redis"] if one.model == "p" else [one.model]
    return any(history.was_down(hand, one.began_at, one.ended_at + _ON_ITS_WAY_S) for hand in hands)
