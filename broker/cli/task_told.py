"""What `describe` tells of a durable task besides its fields: its attempts, how its answer begins, why there is none."""

from __future__ import annotations

from datetime import datetime

from .api import Api, Refused
from .labels import below, labelled
from .printing import Cell, say, shortened, table

HEAD_LINES = 10
HEAD_COLUMNS = 160


async def tell_task(api: Api, task: dict) -> None:
    """Raises Refused, Unreachable."""
    if error := task["error"]:
        say(f"{labelled('error')}{error['code']}" + (f": {error['message']}" if error["message"] else ""), "red")
    below("attempts", [] if task["attempts"] else ["none yet"])
    if task["attempts"]:
        rows = [_attempt(number, one) for number, one in enumerate(task["attempts"], 1)]
        table(["#", "LLM", "BEGAN", "TOOK", "ENDED WITH", "MESSAGE"], rows, indent="  ")
    if task["result"]:
        await _tell_result(api, task["id"], task["result"])


async def _tell_result(api: Api, task: str, result: dict) -> None:
    from .answers import text

    try:
        kind, body = await api.kept(result["url"], result["status"])
    except Refused as refused:
        say(f"{labelled('result')}{refused}")
        return
    lines = text(kind, body).splitlines()
    left = len(lines) - HEAD_LINES
    more = [f"({left} more lines; `broker task follow {task}` prints all)"] if left > 0 else []
    say(f"{labelled('result')}status {result['status']}, {len(body):,} bytes of {kind}")
    for line in [*(shortened(line, HEAD_COLUMNS) for line in lines[:HEAD_LINES]), *more]:
        say(f"  {line}")


def _attempt(number: int, one: dict) -> list[Cell]:
    ended = f"{one['status']} {one['code'] or ''}".strip() if one["endedAt"] else "runs"
    good = one["endedAt"] and one["status"] < 400
    took = _took(one["startedAt"], one["endedAt"]) if one["endedAt"] else ""
    return [
        Cell(str(number)), Cell(one["llm"] or ""), Cell(one["startedAt"]), Cell(took),
        Cell(ended, "green" if good else "red" if one["endedAt"] else None), Cell(one["message"] or ""),
    ]


def _took(began: str, ended: str) -> str:
    return f"{(datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds():.1f}s"
