"""What there is at the broker and in the documents that are applied: whom a reference means, and what differs.

It reads lists of rows and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from . import rows
from .api import Api, Refused
from .columns import ref
from .documents import Document
from .kinds import OF, PLURAL, Field, Kind


class Known:
    """``await Known.read(api, documents)``."""

    def __init__(self, found: dict[str, list[dict]], documents: list[Document], unseen: set[str]):
        self._rows = found
        self._unseen = unseen
        self._documents = {self.key(document): document for document in documents if not document.virtual}

    @classmethod
    async def read(cls, api: Api, documents: list[Document]) -> Known:
        kinds = {document.kind.plural for document in documents}
        kinds |= {kind for document in documents for kind, _ in _references(document)}
        found: dict[str, list[dict]] = {}
        unseen: set[str] = set()
        for kind in sorted(kinds):
            try:
                found[kind] = await rows.every(api, PLURAL[kind])
            except Refused as refused:
                if kind != "secrets" or refused.status != 403:
                    raise
                unseen.add(kind)  # an admin's: the broker says when one is missing
        return cls(found, documents, unseen)

    def key(self, document: Document) -> tuple[str, ...]:
        """As ``Document.key``, with names in the place of ids."""
        plural, name, *of = document.key
        return (plural, name, *(self._called(word + "s", text) for word, text in zip(OF, of)))

    def row(self, document: Document) -> dict | None:
        """The row that the document is about, None before it is made."""
        key = self.key(document)
        return next((row for row in self._rows[key[0]] if _key(document.kind, row) == key), None)

    def key_of(self, kind: Kind, row: dict) -> tuple[str, ...]:
        """What ``key`` says of a document that is about this row."""
        return _key(kind, row)

    def learn(self, document: Document, row: dict) -> None:
        """A row as the broker has just answered it."""
        kind = document.kind
        others = [other for other in self._rows[kind.plural] if _key(kind, other) != _key(kind, row)]
        self._rows[kind.plural] = [*others, row]

    def complaints(self, document: Document) -> list[str]:
        """References that lead nowhere, or to several prompts."""
        wrong = []
        for kind, item in _references(document):
            if kind in self._unseen:
                continue
            meant = self._meant(kind, item)
            if len(meant) != 1:
                said = "which is neither at the broker nor in these files" if not meant else "which several have: say of which `project` or `agent`"
                wrong.append(f"{document.place}: {document.kind.document} {document.name!r} names the {PLURAL[kind].singular} {_told(item)}, {said}")
        return wrong

    def awaited(self, document: Document) -> dict[tuple[str, ...], str]:
        """The documents that must be applied before this one, by their keys; and by which kind it names each."""
        found = {}
        for kind, item in _references(document):
            for key in () if kind in self._unseen else self._meant(kind, item):
                if key in self._documents and not any(_key(PLURAL[kind], row) == key for row in self._rows[kind]):
                    found[key] = kind
        return found

    def sent(self, document: Document, name: str) -> object:
        """A field's value for the API: references to prompts by id, for their names are not unique."""
        value = document.fields[name]
        if isinstance(value, list) and _field(document.kind, name).names == "prompts":
            return self._prompt_ids(value)
        return ref(value) or None if _field(document.kind, name).names else value

    def differs(self, document: Document, row: dict) -> list[str]:
        """The fields that the row has otherwise."""
        return [name for name, value in document.fields.items() if not self._same(document.kind, name, value, row.get(name))]

    def _same(self, kind: Kind, name: str, ours: object, theirs: object) -> bool:
        field = _field(kind, name)
        names = field.names
        if names == "prompts":
            return self._prompt_ids(ours) == [item["id"] for item in theirs]
        if names:
            return self._called(names, ref(ours)) == self._called(names, ref(theirs))
        return _bare(_short(field, ours)) == _bare(_short(field, theirs))

    def _prompt_ids(self, items: list) -> list[str]:
        """Each once. One that is not made yet has none, and then nothing is sent."""
        ids = {_key(PLURAL["prompts"], row): row["id"] for row in self._rows["prompts"]}
        return list(dict.fromkeys(ids.get(key, "") for item in items for key in self._meant("prompts", item)))

    def _called(self, kind: str, text: str) -> str:
        """The name of the row that has this name or this id."""
        return next((row["name"] for row in self._rows.get(kind, ()) if row.get("id") == text), text)

    def _meant(self, kind: str, item: object) -> list[tuple[str, ...]]:
        """The keys of what a reference may mean. A prompt's plain name means everybody's before those of somebody."""
        keys = {_key(PLURAL[kind], row): None for row in self._rows.get(kind, ())}
        keys |= {key: None for key in self._documents if key[0] == kind}
        text = ref(item)
        if by_id := [_key(PLURAL[kind], row) for row in self._rows.get(kind, ()) if row.get("id") in (text, _id(item)) and row.get("id")]:
            return by_id[:1]
        if kind != "prompts":
            return [key for key in keys if key[1] == text]
        of = tuple(self._called(word + "s", ref(item.get(word))) for word in OF) if isinstance(item, dict) else ("", "")
        exact = [key for key in keys if key[1:] == (text, *of)]
        return exact or ([] if any(of) else [key for key in keys if key[1] == text])


def _key(kind: Kind, row: dict) -> tuple[str, ...]:
    return (kind.plural, row["name"], *(ref(row.get(word)) for word in OF if kind.plural == "prompts"))


def _references(document: Document) -> Iterable[tuple[str, object]]:
    """(kind, value) of each."""
    for field in document.kind.fields:
        value = document.fields.get(field.name)
        if field.names and value:
            yield from ((field.names, item) for item in value) if isinstance(value, list) else ((field.names, value),)
    for server in document.fields.get("mcpServers") or ():
        if isinstance(server, dict) and isinstance(server.get("apiKeyRef"), str) and server["apiKeyRef"]:
            yield "secrets", server["apiKeyRef"]


def _field(kind: Kind, name: str) -> Field:
    return next(field for field in kind.fields if field.name == name)


def _short(field: Field, value: object) -> object:
    """A list's entries without what they need not say."""
    usual = {(name, _bare(plain)) for name, plain in field.usual}
    return [_without(item, usual) for item in value] if usual and isinstance(value, list) else value


def _without(item: object, usual: set[tuple[str, str]]) -> object:
    if not isinstance(item, dict):
        return item
    return {name: _without(each, set()) for name, each in item.items() if each is not None and (name, _bare(each)) not in usual}


def _id(item: object) -> str | None:
    return item.get("id") if isinstance(item, dict) else None


def _told(item: object) -> str:
    of = [f"of the {word} {ref(item[word])!r}" for word in OF if item.get(word)] if isinstance(item, dict) else []
    return " ".join([repr(ref(item)), *of])


def _bare(value: object) -> str:
    """A value as a text that differs when it does: true is not 1, but 30 is 30.0."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: object) -> object:
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
