"""What was found at one address: a server that could be published.

Plain values, JSON in camelCase. Texts come from strangers' servers: ``shown``
before they reach a terminal. No key is ever in them.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

import msgspec


class Found(msgspec.Struct, rename="camel", frozen=True):
    """``url`` is what the config file takes. ``native``: it can load and unload a model by itself."""

    type: str
    server: str  # for people: name and version
    url: str
    models: tuple[str, ...] = ()
    needs_key: bool = False
    note: str = ""
    slots: int | None = None
    native: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """All that was seen. ``brokers`` are Reveille's; ``silent`` took a connection and did not answer in time."""

    found: list[Found] = field(default_factory=list)
    brokers: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def shown(text: str, width: int = 0) -> str:
    """On one line, without what a terminal would obey; with ``width`` cut to it."""
    plain = "".join("?" if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") else one for one in text)
    return plain[: width - 1] + "…" if width and len(plain) > width else plain
