"""Documents as they are read from files: their kind, their name, their fields, and where they were written.

Everything is looked at before anything is complained of, and everything that is
wrong is said at once. It asks no broker.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from unicodedata import category

from .api import Misused
from .columns import ref
from .kinds import DOCUMENTS, EITHER, KINDS, LIST, OBJECT, OF, TEXT, YES_NO, Field, Kind
from .yaml_form import Malformed, documents

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
#: Of one file. Whoever names a disk or a film by mistake is told so before the memory is full.
LARGEST = 64 << 20
MADE_OF = {TEXT: str, OBJECT: dict, LIST: list, YES_NO: bool}
_READ_ONLY = {kind.singular.title().replace("-", ""): kind for kind in KINDS if not kind.document}


@dataclass(frozen=True, slots=True)
class Document:
    """``fields``: without the name. ``virtual``: a publisher's, which is never sent."""

    kind: Kind
    name: str
    fields: dict[str, object]
    place: str
    virtual: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """What no two documents may have in common."""
        of = (ref(self.fields.get(word)) for word in OF) if self.kind.plural == "prompts" else ()
        return (self.kind.plural, self.name, *of)

    @property
    def title(self) -> str:
        return f"{self.kind.singular}/{self.name}"


def read(files: Iterable[str]) -> list[Document]:
    """The documents of files and folders, and of stdin for ``-``. Raises Misused with every complaint."""
    found: list[Document] = []
    wrong: list[str] = []
    for name, text in texts(files):
        try:
            for line, value in documents(text):
                document = _document(value, f"{name}:{line}", wrong)
                if document:
                    found.append(document)
        except Malformed as error:
            wrong.append(f"{name}:{error.line}: {error}")
    wrong += _twins(found)
    if wrong:
        raise Misused("\n".join(wrong))
    if not found:
        raise Misused("there is no document in what -f names")
    return found


def one(text: str, name: str) -> Document:
    """The only document of a text. Raises Misused."""
    wrong: list[str] = []
    try:
        found = [_document(value, f"{name}:{line}", wrong) for line, value in documents(text)]
    except Malformed as error:
        raise Misused(f"{name}:{error.line}: {error}") from None
    if wrong or len(found) != 1:
        raise Misused("\n".join(wrong) or f"{name}: there must be one document")
    return found[0]


def texts(files: Iterable[str]) -> Iterable[tuple[str, str]]:
    """(name, text) of each, of a folder's files too. Raises Misused."""
    for file in files:
        if file == STDIN:
            yield "stdin", _decoded("stdin", sys.stdin.buffer.read(LARGEST + 1))
            continue
        path = Path(file)
        inside = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and one.is_file()) if path.is_dir() else [path]
        if not inside:
            raise Misused(f"{file}: no file there ends in {', '.join(SUFFIXES)}")
        for each in inside:
            try:
                with each.open("rb") as opened:
                    text = opened.read(LARGEST + 1)
                yield str(each), _decoded(str(each), text)
            except OSError as error:
                raise Misused(f"{each}: {error.strerror or error}") from None


def _decoded(name: str, text: bytes) -> str:
    if len(text) > LARGEST:
        raise Misused(f"{name}: is larger than {LARGEST >> 20} MiB: that is no document")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise Misused(f"{name}: is not UTF-8 (byte {error.start})") from None


def _document(value: object, place: str, wrong: list[str]) -> Document | None:
    """None for one that is not usable; ``wrong`` says why."""
    before = len(wrong)
    if not isinstance(value, dict):
        wrong.append(f"{place}: a document is an object with `kind` and `name`")
        return None
    given = dict(value)
    word, name, lifecycle = given.pop("kind", None), given.pop("name", None), given.pop("lifecycle", "public")
    if word in _READ_ONLY:
        wrong.append(f"{place}: a {word} can be read and not applied")
        return None
    if word in ("public", "virtual"):
        wrong.append(f"{place}: this is a row as the API answers it; `broker get … -o yaml` writes documents")
        return None
    if not isinstance(word, str) or word not in DOCUMENTS:
        wrong.append(f"{place}: `kind` must be one of {', '.join(DOCUMENTS)}")
        return None
    if not isinstance(name, str) or not 1 <= len(name) <= 128 or name[0] == "_" or any(category(c) in ("Cc", "Cs") for c in name):
        wrong.append(f"{place}: {word}: `name` must be 1 to 128 characters, no control characters, the first not `_`")
        return None
    kind, said = DOCUMENTS[word], f"{place}: {word} {name!r}"
    if lifecycle not in ("public", "virtual"):
        wrong.append(f"{said}: `lifecycle` must be public or virtual")
    known = {field.name: field for field in kind.fields}
    for field in given:
        if field not in known:
            wrong.append(f"{said}: has no field `{field}`; there are {', '.join(known)}")
        elif complaint := _complaint(known[field], given[field]):
            wrong.append(f"{said}: `{field}` must be {complaint}")
    first, second = EITHER.get(kind.plural, ("", ""))
    if given.get(first) and given.get(second):
        wrong.append(f"{said}: has either `{first}` or `{second}`")
    return Document(kind, name, given, place, lifecycle == "virtual") if len(wrong) == before else None


def _complaint(field: Field, value: object) -> str:
    """What the value must be, if it is not."""
    if value is None and field.empty:
        return ""
    if field.names and field.is_a == LIST:
        fit = isinstance(value, list) and all(_is_ref(item) for item in value)
        return "" if fit else "a list of names"
    if field.names:
        return "" if _is_ref(value) else "a name"
    return "" if isinstance(value, MADE_OF[field.is_a]) else field.is_a


def _is_ref(value: object) -> bool:
    if isinstance(value, dict):
        return bool(value.get("name") or value.get("id")) and all(isinstance(part, str | None) for part in value.values())
    return isinstance(value, str) and value != ""


def _twins(found: list[Document]) -> list[str]:
    first: dict[tuple[str, ...], Document] = {}
    wrong = []
    for document in found:
        other = first.setdefault(document.key, document)
        if other is not document:
            wrong.append(f"{document.place}: {document.kind.document} {document.name!r} is written already, at {other.place}")
    return wrong
