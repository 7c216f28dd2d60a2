"""What a name may be: of LLMs, agents, aliases. One rule for publishers and admins."""

from __future__ import annotations

from unicodedata import category

from broker.errors import Unprocessable

ALIASES = 32


def check_name(place: str, name: str) -> None:
    """Raises Unprocessable, naming the place."""
    if not 1 <= len(name) <= 128 or name.startswith("_") or any(category(char) in ("Cc", "Cs") for char in name):
        raise Unprocessable(f"{place}: 1 to 128 characters, no control characters, the first not `_`.", param=place)


def check_aliases(place: str, aliases: list[str]) -> None:
    if len(aliases) > ALIASES:
        raise Unprocessable(f"{place}: at most {ALIASES}.", param=place)
    for alias in aliases:
        check_name(place, alias)
