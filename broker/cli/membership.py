"""Which LLMs a pool has just now, as its members name or select them. It asks nobody."""

from __future__ import annotations

import re

#: What a selector may say, all of which must be so.
EXACT = ("model", "tier", "kind")


def members(pool: dict, llms: list[dict]) -> list[tuple[dict, dict]]:
    """(LLM, the entry that counts for it: the first that fits it), the lower tiers first."""
    found = []
    for llm in llms:
        entry = next((entry for entry in pool["members"] if _fits(entry, llm)), None)
        if entry is not None:
            found.append((llm, entry))
    return sorted(found, key=lambda pair: (pair[1].get("tier", 0), pair[0]["name"]))


def spelled(entry: dict) -> str:
    """An entry in a few words."""
    selector = entry.get("selector")
    who = " ".join(f"{name}={value}" for name, value in selector.items()) if selector else str(entry.get("llm"))
    return who + "".join(f" {name} {entry[name]:g}" for name in ("weight", "tier") if name in entry)


def _fits(entry: dict, llm: dict) -> bool:
    selector = entry.get("selector")
    if not selector:
        return entry.get("llm") == llm["name"]
    exact = all(selector.get(name) in (None, llm.get(name)) for name in EXACT)
    return exact and (selector.get("name") is None or _like(selector["name"], llm["name"]))


def _like(pattern: str, name: str) -> bool:
    """``*`` is any text, ``?`` any character."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), name) is not None
