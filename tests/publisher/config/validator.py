"""Judges a value by a JSON Schema, as far as the config file's schema goes.

A word that it does not know is an error, so that nothing passes unread.
"""

from __future__ import annotations

import re

SAID_ONLY = {"title", "description", "default", "$schema", "$defs"}
KINDS = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
         "null": type(None)}


def faults(value: object, schema: dict, root: dict, at: str = "$") -> list[str]:
    """What does not fit; empty if all does."""
    found: list[str] = []
    for word, wanted in schema.items():
        if word in SAID_ONLY:
            continue
        found += [f"{at}: {fault}" if not fault.startswith("$") else fault
                  for fault in _judge(word, wanted, value, schema, root, at)]
    return found


def _judge(word: str, wanted, value, schema: dict, root: dict, at: str) -> list[str]:
    match word:
        case "$ref":
            return faults(value, root["$defs"][wanted.removeprefix("#/$defs/")], root, at)
        case "anyOf":
            tried = [faults(value, one, root, at) for one in wanted]
            return [] if [] in tried else min(tried, key=len)
        case "type":
            fits = isinstance(value, KINDS[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
            return [] if fits else [f"is not of type {wanted}"]
        case "const":
            return [] if value == wanted else [f"is not {wanted}"]
        case "enum":
            return [] if value in wanted else [f"is none of {wanted}"]
        case "pattern":
            return [] if not isinstance(value, str) or re.search(wanted, value) else [f"does not match {wanted}"]
        case "minLength" | "minItems":
            return [] if not isinstance(value, str | list) or len(value) >= wanted else ["is too short"]
        case "exclusiveMinimum":
            return [] if not isinstance(value, int | float) or value > wanted else [f"is not above {wanted}"]
        case "minimum":
            return [] if not isinstance(value, int | float) or value >= wanted else [f"is below {wanted}"]
        case "maximum":
            return [] if not isinstance(value, int | float) or value <= wanted else [f"is above {wanted}"]
        case "items":
            items = value if isinstance(value, list) else []
            return [fault for n, item in enumerate(items) for fault in faults(item, wanted, root, f"{at}[{n}]")]
        case "required":
            return [f"lacks {name}" for name in wanted if isinstance(value, dict) and name not in value]
        case "properties":
            given = value if isinstance(value, dict) else {}
            return [fault for name in given if name in wanted
                    for fault in faults(given[name], wanted[name], root, f"{at}.{name}")]
        case "additionalProperties":
            others = [name for name in value if name not in schema.get("properties", {})] if isinstance(value, dict) else []
            if wanted is False:
                return [f"has {name}, which is not known" for name in others]
            return [fault for name in others for fault in faults(value[name], wanted, root, f"{at}.{name}")]
        case "propertyNames":
            names = value if isinstance(value, dict) else {}
            return [fault for name in names for fault in faults(name, wanted, root, f"{at}.{name}")]
    raise AssertionError(f"the schema has a word that is not judged here: {word}")
