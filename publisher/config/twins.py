"""Finds what is named twice in a config file, and may be there only once."""

from __future__ import annotations

from publisher.config.mistake import Mistake, Place, dotted


def refuse_twins(named: list[tuple[Place, str]]) -> None:
    seen: dict[str, Place] = {}
    for at, name in named:
        if name in seen:
            raise Mistake(at, f"{dotted(seen[name])} has the same")
        seen[name] = at
