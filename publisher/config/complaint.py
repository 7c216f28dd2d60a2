"""Says what is wrong with a value that does not fit the schema.

It is loaded only when there is something to say. It never shows a value: values
may be secrets.
"""

from __future__ import annotations

import difflib
import re

import msgspec
from msgspec import inspect

from publisher.config.mistake import Mistake, Place
from publisher.config.schema import ConfigFile

STEP = re.compile(r"\[(\d+)\]|\.([^.\[\]]+)")


def mistake_of(err: msgspec.ValidationError, written: object) -> Mistake:
    """``written`` is the whole file's value, as it was given to msgspec."""
    found = re.fullmatch(r"(.*?)(?: - at (?:`key` in )?`\$(.*)`)?", str(err), re.DOTALL)
    said, path = found[1], found[2] or ""
    at, kind, value = _walk(path, written)
    if said.startswith("Object contains unknown field"):
        return _unknown(at, kind, value)
    missing = re.fullmatch(r"Object missing required field `(.*)`", said)
    if missing and missing[1] == "type":
        return Mistake((*at, "type"), f"is missing; known are {_kinds(kind)}")
    if missing:
        return Mistake((*at, missing[1]), "is missing")
    if at and at[-1] == "type" and isinstance(kind, inspect.UnionType):
        return Mistake(at, f"must be {_kinds(kind)}" + _near(value, _tags(kind)))
    if not at:
        return Mistake((), 'must hold fields, such as "broker" and "providers"')
    return Mistake(at, _must(kind, value))


def _walk(path: str, written: object) -> tuple[Place, inspect.Type, object]:
    """Follows msgspec's path through the schema and the value."""
    at: list[str | int] = []
    kind: inspect.Type = inspect.type_info(ConfigFile)
    value = written
    for number, name in STEP.findall(path):
        inner = _bare(kind, value)
        if isinstance(inner, inspect.ListType) and number:
            at.append(int(number))
            kind, value = inner.item_type, value[int(number)]
        elif isinstance(inner, inspect.StructType):
            at.append(name)
            field = next((field for field in inner.fields if field.encode_name == name), None)
            kind, value = (field.type, value[name]) if field else (kind, value[name])
        elif name == "type":  # of a union whose member is not known yet
            at.append(name)
            kind, value = inner, value[name]
    return tuple(at), kind, value


def _bare(kind: inspect.Type, value: object) -> inspect.Type:
    """Without descriptions and, where the value tells, the one of several that is meant."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if not isinstance(kind, inspect.UnionType):
        return kind
    for one in map(lambda one: _bare(one, value), kind.types):
        if isinstance(one, inspect.StructType) and isinstance(value, dict) and one.tag in (None, value.get("type")):
            return one
        if isinstance(one, inspect.ListType) and isinstance(value, list):
            return one
    return kind


def _unknown(at: Place, kind: inspect.Type, value: object) -> Mistake:
    struct = _bare(kind, value)
    known = [field.encode_name for field in struct.fields] + ["type"] * (struct.tag is not None)
    name = next(name for name in value if name not in known)
    if name == "maxWaitSeconds":
        return Mistake((*at, name), "belongs directly into wake")
    hint = _near(name, known, cutoff=0.4) or "; known are " + ", ".join(known)
    return Mistake((*at, name), "is not a known field" + hint)


def _must(kind: inspect.Type, value: object) -> str:
    """The schema's own words if it has any, else what the type says."""
    words: list[str] = []
    types = [kind]
    while types:
        one = types.pop(0)
        if isinstance(one, inspect.Metadata):
            if one.extra and _fits(one.type, value):
                return one.extra["must"]
            types.insert(0, one.type)
        elif isinstance(one, inspect.UnionType):
            types[:0] = one.types
        elif isinstance(one, inspect.LiteralType):
            return f"must be {_or(one.values)}" + _near(value, [word for word in one.values if isinstance(word, str)])
        else:
            words.append(_word(one, value))
    return "must be " + " or ".join(dict.fromkeys(word for word in words if word))


def _fits(kind: inspect.Type, value: object) -> bool:
    """Whether words about the content help: not where a text is wanted and something else stands."""
    if isinstance(kind, inspect.Metadata):
        return _fits(kind.type, value)
    if isinstance(kind, inspect.UnionType):
        return any(_fits(one, value) for one in kind.types if not isinstance(one, inspect.NoneType))
    if isinstance(kind, inspect.StrType):
        return isinstance(value, str)
    return not isinstance(kind, inspect.ListType) or isinstance(value, list)


def _word(kind: inspect.Type, value: object) -> str:
    if isinstance(kind, inspect.StrType):
        return "text, in quotes" if isinstance(value, bool | int | float) else "text"
    if isinstance(kind, inspect.StructType | inspect.DictType):
        return "an object { … }"
    if isinstance(kind, inspect.ListType):
        return "a list [ … ]"
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    return ""  # null: nobody has to be told that a field may be left out


def _tags(kind: inspect.Type) -> list[str]:
    return [one.tag for one in kind.types if isinstance(one, inspect.StructType)]


def _kinds(kind: inspect.Type) -> str:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return _or(_tags(kind))


def _or(words: list | tuple) -> str:
    shown = [f'"{word}"' if isinstance(word, str) else str(word) for word in words]
    return " or ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _near(word: object, known: list[str], cutoff: float = 0.6) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=cutoff) if isinstance(word, str) else []
    return f'; did you mean "{near[0]}"?' if near else ""
