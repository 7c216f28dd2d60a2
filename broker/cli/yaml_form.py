"""YAML as documents are written and read in it: the values that JSON knows, as YAML 1.2 takes them.

``yes`` and ``12:30`` are texts, no tag is followed, no field is taken twice. JSON is
read too. It knows no kind and no field. PyYAML is loaded with this module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import inf

import yaml

from .printable import is_fit

#: The C parser has no limit of its own and would take the program down.
DEEPEST = 100
#: Far more than anyone writes; aliases of aliases could make billions.
MOST_VALUES = 1_000_000
MOST_CHARACTERS = 64 << 20
_PREFIX = "tag:yaml.org,2002:"
#: What YAML 1.1 takes for a line's end.
_BREAKS = re.compile("[\x85\u2028\u2029]")
_PLAIN = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""], lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF"), lambda text: text.lower() == "true"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789"), int),
    "float": (r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", list("-+.0123456789"), float),
}
_KNOWN = {_PREFIX + kind for kind in (*_PLAIN, "map", "seq", "str")}


class Malformed(Exception):
    """``line`` counts from 1."""

    def __init__(self, line: int, problem: str):
        super().__init__(problem)
        self.line = line


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    yaml_implicit_resolvers: dict = {}


class _Dumper(yaml.SafeDumper):
    """Quotes also what YAML 1.1 would take for something else than a text, for other programs read it as well."""

    def ignore_aliases(self, data: object) -> bool:
        return True


for _kind, (_pattern, _first, _) in _PLAIN.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_PREFIX + _kind, re.compile(rf"(?:{_pattern})\Z"), _first)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # What a terminal may not get is escaped on its way there, and only in quotes an escape is read as one.
    style = '"' if _BREAKS.search(text) or not is_fit(text) else "|" if "\n" in text else None
    return dumper.represent_scalar(_PREFIX + "str", text, style=style)


def _number(dumper: yaml.SafeDumper, number: float) -> yaml.Node:
    text = repr(number)
    return dumper.represent_scalar(_PREFIX + "float", text if "." in text else text.replace("e", ".0e"))


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)


def written(value: object, *, ascii_only: bool = False) -> str:
    """One document, without its ``---``."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=not ascii_only, width=10_000, default_flow_style=False)


def documents(text: str) -> Iterator[tuple[int, object]]:
    """Each document and the line on which it begins; empty ones are left out. Raises Malformed."""
    text = text.removeprefix("\ufeff")
    yield from _json(text) if text.lstrip()[:1] in ("{", "[") else _yaml(text)


def _json(text: str) -> Iterator[tuple[int, object]]:
    """One value after the other; a list counts as its items. What is no JSON may still be YAML in brackets."""
    found, at, decoder = [], 0, json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)
    try:
        while at < len(text):
            if text[at].isspace():
                at += 1
                continue
            value, end = decoder.raw_decode(text, at)
            found.append((text.count("\n", 0, at) + 1, value))
            at = end
    except json.JSONDecodeError as error:
        try:
            found = list(_yaml(text))
        except Malformed:
            raise Malformed(error.lineno, f"is not JSON: {error.msg}") from None
    except (_Twice, RecursionError, ValueError) as error:
        said = {_Twice: f"{error} is written twice", RecursionError: "is nested too deeply"}
        raise Malformed(text.count("\n", 0, at) + 1, said.get(type(error), "holds a number that is too long")) from None
    for line, value in found:
        yield from ((line, item) for item in value) if isinstance(value, list) else ((line, value),)


class _Twice(Exception):
    """The name of a field."""


def _once(pairs: list[tuple[str, object]]) -> dict:
    made: dict = {}
    for name, value in pairs:
        if name in made:
            raise _Twice(f'"{name}"')
        made[name] = value
    return made


def _no_number(text: str) -> object:
    raise json.JSONDecodeError(f"{text} is no number", "", 0)


def _yaml(text: str) -> Iterator[tuple[int, object]]:
    try:
        _refuse_depth(text)
        for node in yaml.compose_all(text, Loader=_Loader):
            values = _Values()
            if isinstance(node, yaml.SequenceNode):
                yield from ((item.start_mark.line + 1, values.of(item)) for item in node.value)
            elif node is not None and (value := values.of(node)) is not None:
                yield node.start_mark.line + 1, value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Malformed(mark.line + 1 if mark else 1, f"is not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError:
        raise Malformed(1, "holds a control character") from None


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise Malformed(event.start_mark.line + 1, "is nested too deeply")


class _Values:
    """Turns nodes into values, and counts them."""

    def __init__(self) -> None:
        self._left = MOST_VALUES
        self._left_characters = MOST_CHARACTERS

    def of(self, node: yaml.Node, depth: int = 0) -> object:
        line = node.start_mark.line + 1
        self._left -= 1
        self._left_characters -= len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        if self._left < 0 or self._left_characters < 0 or depth > DEEPEST:  # more than is written: it came by aliases
            raise Malformed(line, "refers to itself, or multiplies, by its aliases")
        if node.tag not in _KNOWN:
            raise Malformed(line, "tags (!…) are not known here; if text is meant, put it in quotes")
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return self._object(node, depth)
        pattern, _, read = _PLAIN.get(node.tag.removeprefix(_PREFIX), (".*", "", str))
        if not re.fullmatch(pattern, node.value, re.DOTALL):
            raise Malformed(line, "is not what its tag (!!…) says")
        try:
            value = read(node.value)
        except ValueError:
            value = inf
        if value in (inf, -inf):
            raise Malformed(line, "is too large a number")
        return value

    def _object(self, node: yaml.MappingNode, depth: int) -> dict[str, object]:
        made: dict[str, object] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Malformed(key.start_mark.line + 1, "the name of a field must be a plain text")
            if key.value in made:
                raise Malformed(key.start_mark.line + 1, f'"{key.value}" is written twice')
            made[key.value] = self.of(item, depth + 1)
        return made
