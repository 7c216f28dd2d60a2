"""Whether a tool's input schema is one that can be sent to an LLM.

LLM servers refuse a whole request for one bad schema, so what is plainly wrong is found before. It
is no validator: formats, patterns and references are not looked at.
"""

from __future__ import annotations

from typing import Any

_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")


def whole(schema: dict) -> dict:
    """The schema with what some LLM servers insist on: that it is an object, and its properties."""
    return {"type": "object", "properties": {}, **schema}


def fault_of(schema: Any) -> str:
    """What is wrong with an input schema; '' for nothing."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return "it is no object"
    found: list[tuple[str, Any]] = [("", schema)]
    while found:
        where, part = found.pop()
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            return f"{where or 'it'} is no schema"
        if fault := _fault(part):
            return f"{where}: {fault}" if where else fault
        for word in _ONE:
            if word in part:
                # A list of them is how older drafts tell of tuples.
                inner = part[word] if isinstance(part[word], list) else [part[word]]
                found += [(f"{where}/{word}", one) for one in inner]
        for word in _LISTS:
            found += [(f"{where}/{word}", one) for one in part.get(word, ())]
        for word in _MAPS:
            found += [(f"{where}/{word}/{name}"[:200], one) for name, one in part.get(word, {}).items()]
    return ""


def _fault(part: dict) -> str:
    kinds = part.get("type", [])
    if any(kind not in _TYPES for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)):
        return f"there is no type {str(kinds)[:60]!r}"
    if not isinstance(kinds, str | list) or any(not isinstance(kind, str) for kind in kinds):
        return "`type` is no text"
    for word in _MAPS:
        if not isinstance(part.get(word, {}), dict):
            return f"`{word}` is no object"
    for word in (*_LISTS, "enum", "required"):
        if not isinstance(part.get(word, []), list):
            return f"`{word}` is no list"
    if any(not isinstance(name, str) for name in part.get("required", [])):
        return "`required` is no list of names"
    return ""
