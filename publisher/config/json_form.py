"""A config file as JSON: its value, and the line of each of its fields.

Lines are looked for only when there is a mistake to tell. It knows no field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from publisher.config.mistake import Mistake, Place

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


class _Twice(ValueError):
    """Some object has the same field twice."""


def value(text: str) -> object:
    """What the text says. Raises ``Mistake``."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as err:
        hint = _hint(err.msg, text[: err.pos].rstrip(), text[err.pos :].lstrip())
        raise Mistake((), err.msg + hint, err.lineno, err.colno) from None
    except RecursionError:
        raise Mistake((), "is nested too deeply") from None
    except _Twice:
        raise _the_second(text) from None


def _hint(said: str, before: str, rest: str) -> str:
    """What people write that is JavaScript, Python or YAML, and no JSON."""
    if rest.startswith(("//", "/*", "#")):
        return "; JSON has no comments, a file that ends in .yaml may have them"
    if not rest:
        return "; the file ends too early" if before else "; the file is empty"
    if before.endswith(",") and rest[0] in "}]":
        return "; the comma before it is one too many"
    if rest[0] == "'":
        return "; JSON has its texts in double quotes"
    if re.match(r"(True|False|None|yes|no|on|off)\b", rest):
        return "; JSON writes true, false and null"
    if "escape" in said:
        return "; in a text of JSON each \\ is written twice"
    return "; if this is YAML, let the file's name end in .yaml" if not before else ""


def lines(text: str) -> dict[Place, int]:
    """The line on which each field and each item of a list begins. ``text`` is known to be JSON."""
    return dict(_places(text))


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Twice
    return made


def _no_number(name: str) -> object:
    raise Mistake((), f"{name} is not a number that JSON has")


def _the_second(text: str) -> Mistake:
    seen: set[Place] = set()
    for at, line in _places(text):
        if at in seen:
            return Mistake(at, "is written twice", line)
        seen.add(at)
    return Mistake((), "a field is written twice")


def _places(text: str) -> Iterator[tuple[Place, int]]:
    at: list[str | int] = []  # where we are; a list's last part is its item's number
    names: list[bool] = []  # for each bracket that is open: whether a name comes next
    line, counted = 1, 0
    for token in TOKEN.finditer(text):
        line += text.count("\n", counted, token.start())
        counted = token.start()
        sign = token[0]
        opens = sign in "{["
        if at and at[-1] == -1 and sign != "]":  # the first item of a list
            at[-1] = 0
            yield tuple(at), line
        elif names and names[-1] and sign[0] == '"':
            at[-1] = json.loads(sign, strict=False)
            names[-1] = False
            yield tuple(at), line
        elif sign == "," and isinstance(at[-1], int):
            at[-1] += 1
            following = TOKEN.search(text, token.end())
            yield tuple(at), line + text.count("\n", counted, following.start() if following else counted)
        elif sign == ",":
            names[-1] = True
        if opens:
            names.append(sign == "{")
            at.append("" if sign == "{" else -1)
        elif sign in "}]":
            names.pop()
            at.pop()
