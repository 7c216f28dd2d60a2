"""A config file as YAML: its value, and the line of each of its fields.

Values are those that JSON knows, read as YAML 1.2 does: ``yes`` and ``12:30``
are texts, and so is every name of a field. No tag is followed and no name is
taken twice. It knows no field, and no complaint shows what was written.
"""

from __future__ import annotations

import re

import yaml

from publisher.config.mistake import Mistake, Place

#: Far more than anyone writes; aliases of aliases could make billions.
MOST_VALUES = 100_000
#: The C parser has no limit of its own and would take the program down.
DEEPEST = 100
IN_QUOTES = "; if text is meant, put it in quotes"
MERGE = "tag:yaml.org,2002:merge"
PLAIN = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", "~nN", lambda text: None),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    "tag:yaml.org,2002:int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789", int),
    "tag:yaml.org,2002:float": (
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", "-+.0123456789", float),
    MERGE: (r"<<", "<", str),
}
KNOWN_TAGS = {*PLAIN, *(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str"))}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(LOADER):
    yaml_implicit_resolvers: dict = {}


for _tag, (_pattern, _first, _) in PLAIN.items():
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first) + [""] * ("null" in _tag))


def value(text: str) -> object:
    """What the text says; an empty file is an empty object. Raises ``Mistake``."""
    root = _root(text)
    return {} if root is None else _Values().of(root, ())


def lines(text: str) -> dict[Place, int]:
    """The line on which each field and each item of a list begins. ``text`` is known to be YAML."""
    found: dict[Place, int] = {}
    root = _root(text)
    if root is not None:
        _note(root, (), found)
    return found


def _root(text: str) -> yaml.Node | None:
    try:
        _refuse_depth(text)
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        if _is_open_quote(err):
            mark = err.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise Mistake((), _problem(err, text), line, column) from None
    except yaml.reader.ReaderError:
        raise Mistake((), "holds a control character") from None


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise Mistake((), "is nested too deeply", event.start_mark.line + 1)


def _problem(err: yaml.MarkedYAMLError, text: str) -> str:
    """The parser's own words, where they help. Never the name of an alias or a tag: a key that
    begins with such a sign looks like one."""
    problem, context = err.problem or "is not YAML", err.context or ""
    for kind, begins in (("alias", "* begins an alias"), ("anchor", "& begins an anchor"), ("tag", "! begins a tag")):
        if kind in problem or kind in context:
            return f"{begins} here and is not a proper one{IN_QUOTES}"
    if "another document" in problem:
        return "a second document begins here; only one can be read"
    if "cannot start any token" in problem:
        mark = err.problem_mark
        tab = text.split("\n")[mark.line][mark.column : mark.column + 1] == "\t" if mark else False
        return "a tab stands where YAML wants spaces" if tab else f"no text can begin with this sign{IN_QUOTES}"
    if _is_open_quote(err):
        return "the quote that opens here is never closed"
    if "mapping values" in problem:
        return f'{problem}: a text that holds ": " belongs in quotes, unless the line above lacks its ":"'
    if "expected" in problem and "flow" in context:
        return f"{problem}: a bracket, a comma or a quote is missing, here or before"
    if "expected" in problem and "block" in context:
        return f"{problem}: fields of one object must begin in the same column"
    return problem


def _is_open_quote(err: yaml.MarkedYAMLError) -> bool:
    return "end of stream" in (err.problem or "") and "quoted" in (err.context or "")


class _Values:
    """Turns nodes into values, and counts them."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def of(self, node: yaml.Node, at: Place) -> object:
        self._left -= 1
        if self._left < 0 or len(at) > DEEPEST:  # more than is written: it came by aliases
            raise Mistake(at[:1], "refers to itself, or multiplies, by its aliases", node.start_mark.line + 1)
        if node.tag not in KNOWN_TAGS:
            raise Mistake(at, f"tags (!…) are not known here{IN_QUOTES}", node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._object(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item, (*at, number)) for number, item in enumerate(node.value)]
        return _scalar(node, at)

    def _object(self, node: yaml.MappingNode, at: Place) -> dict[str, object]:
        own: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise Mistake(at, "the name of a field must be a plain text", line)
            if key.tag == MERGE:
                for part in reversed(item.value if isinstance(item, yaml.SequenceNode) else [item]):
                    if not isinstance(part, yaml.MappingNode):
                        raise Mistake(at, "<< takes an object, or a list of objects", line)
                    merged.update(self._object(part, at))
            elif key.value in own:
                raise Mistake((*at, key.value), "is written twice", line)
            else:
                own[key.value] = self.of(item, (*at, key.value))
        return {**merged, **own}


def _scalar(node: yaml.ScalarNode, at: Place) -> object:
    if node.tag not in PLAIN:
        return node.value
    pattern, _, read = PLAIN[node.tag]
    if not re.fullmatch(pattern, node.value):  # a tag was written, as in !!int x
        raise Mistake(at, "is not what its tag (!!…) says", node.start_mark.line + 1)
    return read(node.value)


def _note(node: yaml.Node, at: Place, found: dict[Place, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                found[(*at, key.value)] = key.start_mark.line + 1
                _note(item, (*at, key.value), found)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            found[(*at, number)] = item.start_mark.line + 1
            _note(item, (*at, number), found)
