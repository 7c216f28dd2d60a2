"""What was decided for a request to a pool, as ``GET /api/v1/requests/<id>/explain`` tells it: made of what the scripts noted."""

from __future__ import annotations

from broker.model import iso

_STANDINGS = {0: "warm", 1: "public", 2: "asleep", 500_000: "broken", 1_000_000: "full", 10_000_000: "away"}


def explanation(request: str, said: list[dict]) -> dict:
    """``said``: notes in order, of choices, of members that were given a request out of the line, and of failures."""
    attempts: dict[str, dict] = {}
    for note in said:
        if "verdict" in note:
            attempts[note["task"]] = _choice(note)
        elif one := attempts.get(note["task"]):
            if "failed" in note:
                one["failed"] = note["failed"]
            else:
                waited_ms = int(note["at"]) - int(one["at"])
                one |= {"llm": note["served"], "why": "its turn in line", "wakeMs" if one["verdict"] == "waking" else "waitMs": waited_ms}
    told = [{**one, "at": iso(str(one["at"]))} for one in attempts.values()]
    return {
        "id": request, "attempts": told, "servedBy": told[-1]["llm"] if told else None, "retries": max(0, len(told) - 1),
        "waitMs": sum(one["waitMs"] for one in told), "wakeMs": sum(one["wakeMs"] for one in told),
    }


def _choice(note: dict) -> dict:
    return {
        "task": note["task"], "asked": note["asked"], "pool": note["pool"], "at": int(note["at"]),
        "verdict": note["verdict"], "llm": note["llm"] or None, "why": note["why"] or None, "failed": None,
        "waiting": int(note["waiting"]), "waitMs": 0, "wakeMs": 0,
        # An empty list is {} to the scripts' JSON.
        "candidates": [_candidate(*one) for one in note["candidates"] or ()],
    }


def _candidate(llm: str, band: float, tier: float, leases: float, slots: float, score: float, average_ms: float) -> dict:
    return {
        "llm": llm, "standing": _STANDINGS[int(band)], "tier": int(tier), "running": int(leases),
        "slots": int(slots) or None, "score": round(score, 3), "averageMs": int(average_ms) or None,
    }
