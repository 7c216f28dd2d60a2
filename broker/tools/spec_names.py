"""The names that tools have for an LLM: ``<server>__<tool>``, of letters that every LLM server takes."""

from __future__ import annotations

import hashlib
import re

LONGEST = 64
_PLAIN = re.compile(rf"[a-zA-Z0-9_-]{{1,{LONGEST}}}")
_ODD = re.compile(r"[^a-zA-Z0-9_-]")
_DIGITS = 8


def spec_name(server: str, tool: str) -> str:
    """The same at every replica and at any time. A name that is too long, or has other characters, is cut and ends in a
    part of its hash, so that two such tools do not meet."""
    name = f"{server}__{tool}"
    if _PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{_ODD.sub('_', name)[: LONGEST - _DIGITS - 1]}_{digest}"
