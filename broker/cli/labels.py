"""One row's fields for a person: each with its label, long ones in lines below it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from .columns import age, ref, span
from .printing import say

LABEL = 22


def show(field: str, value: object) -> None:
    """A field as the API names it, and its value."""
    label = labelled(field)
    if value is None or value in ("", [], {}):
        say(f"{label}-")
    elif isinstance(value, str) and "\n" in value:
        below(field, value.splitlines())
    elif (time := _time(field, value)) is not None:
        say(f"{label}{time} ({told_age(time)})")
    elif isinstance(value, dict) and value.keys() <= {"id", "name"}:
        say(f"{label}{ref(value)}" + ("" if value.get("id") else " (not there)"))
    elif isinstance(value, dict):
        below(field, [f"{name}: {json.dumps(item, ensure_ascii=False)}" for name, item in value.items()])
    elif isinstance(value, list):
        below(field, [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value])
    else:
        say(f"{label}{json.dumps(value) if isinstance(value, bool) else value}")


def below(field: str, lines: Iterable[str]) -> None:
    """Its label, and lines under it."""
    say(labelled(field).rstrip())
    for line in lines:
        say(f"  {line}")


def labelled(field: str) -> str:
    """Its name in words, as wide as all labels."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in field.replace("_", " "))
    return f"{spaced[:1].upper()}{spaced[1:]}:".ljust(LABEL)


def told_age(time: str) -> str:
    """How long ago, or in how long."""
    left = datetime.fromisoformat(time) - datetime.now(UTC)
    return f"in {span(round(left.total_seconds()))}" if left.total_seconds() > 0 else f"{age(time)} ago"


def _time(field: str, value: object) -> str | None:
    """The value as ISO-8601, if it is a time: OpenAI's rows count seconds."""
    if field.endswith("_at") and isinstance(value, int):
        return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    return value if isinstance(value, str) and (field.endswith(("At", "Since")) or field == "deadline") else None
