"""Whether a stream is a terminal that the live view suits, and whether the view is there. Loads nothing."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TextIO


def suits_view(stream: TextIO | None) -> bool:
    """A terminal that can move its cursor. What flags say is decided elsewhere."""
    if stream is None or not stream.isatty():
        return False
    return os.environ.get("TERM", "") not in ("dumb", "unknown")


def has_view() -> bool:
    """Whether the library that draws it is installed."""
    return find_spec("rich") is not None


def only_ascii(encoding: str | None) -> bool:
    """Whether the view's signs have to do without Unicode."""
    try:
        "●◐◑○✗━─…·".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False
