"""The config file's shape as JSON Schema, for editors: ``publisher schema`` prints it.

Made from ``schema.py``, so the two cannot differ. ``docs/publisher.schema.json`` is
what ``python -m publisher.config.json_schema`` prints.
"""

from __future__ import annotations

import json

import msgspec

from publisher.config.schema import ConfigFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
#: What is said of a field and not of its value: it stays outside when the value may be a variable too.
OF_THE_FIELD = ("title", "description", "default")


def json_schema() -> dict:
    (root,), shapes = msgspec.json.schema_components([ConfigFile], ref_template="#/$defs/{name}")
    for shape in shapes.values():
        shape["properties"] = {name: _field(name, told) for name, told in shape["properties"].items()}
        if not shape["required"]:
            del shape["required"]
    top = shapes.pop(root["$ref"].rpartition("/")[2])
    shapes["Variable"] = {"description": "An environment variable: ${NAME}.", **VARIABLE}
    return {"$schema": DIALECT, **top, "title": "Publisher's config file", "$defs": dict(sorted(shapes.items()))}


def schema_text() -> str:
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _field(name: str, told: dict) -> dict:
    """With a title, and with variables allowed where its values are not free texts anyway."""
    if name == "type" and len(told.get("enum", ())) == 1:  # a recipe's kind tells which fields it has
        return {"title": name, "const": told["enum"][0]}
    return {"title": name, **_open(told)}


def _open(told: dict) -> dict:
    told.pop("discriminator", None)
    if told.get("default", ...) is None:
        del told["default"]  # left out, not null
    for key in ("items", "additionalProperties"):
        if isinstance(told.get(key), dict):
            told[key] = _open(told[key])
    if "anyOf" in told:
        told["anyOf"] = [inner for one in map(_open, told["anyOf"]) for inner in one.get("anyOf", [one])]
        told["anyOf"] = [one for n, one in enumerate(told["anyOf"]) if one not in told["anyOf"][:n]]
        return told
    narrow = "enum" in told or told.get("type") in ("integer", "number", "boolean") or "pattern" in told
    if not narrow:
        return told
    outside = {key: told.pop(key) for key in OF_THE_FIELD if key in told}
    return {**outside, "anyOf": [told, {"$ref": "#/$defs/Variable"}]}


if __name__ == "__main__":
    print(schema_text(), end="")
