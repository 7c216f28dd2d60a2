"""Rows as documents that ``apply`` takes: what a person decides, without what only happens to a row."""

from __future__ import annotations

from .columns import ref
from .kinds import EITHER, OF, Kind
from .yaml_form import written

VIRTUAL = "virtual: it is its publisher's, and `apply` leaves it alone; edit the publisher's config file"
READ_ONLY = "this kind can be read, not applied"


def document(kind: Kind, row: dict) -> dict[str, object]:
    """The row's kind, name and fields; of a kind that nobody writes the whole row."""
    if not kind.document:
        return {"kind": kind.singular.title().replace("-", ""), **{name: value for name, value in row.items() if name != "kind"}}
    made: dict[str, object] = {"kind": kind.document, "name": row["name"]}
    if row.get("kind") == "virtual":
        made["lifecycle"] = "virtual"
    return made | fields(kind, row)


def fields(kind: Kind, row: dict) -> dict[str, object]:
    """Of two fields of which one must be there, and of where a prompt belongs, only what there is."""
    either = EITHER.get(kind.plural, ())
    made = {}
    for field in kind.fields:
        value = named(kind, row.get(field.name)) if field.names else row.get(field.name)
        if field.name in row and not (field.name in either and value is None):
            made[field.name] = value
    return made


def named(kind: Kind, value: object) -> object:
    """References by name. A prompt of a project or an agent needs that as well, for names are unique only there."""
    if isinstance(value, list):
        return [_prompt(item) for item in value]
    return ref(value) or None


def text(kind: Kind, rows: list[dict], *, ascii_only: bool = False) -> str:
    """YAML documents, each with a word on what cannot be applied. ``ascii_only``: other characters as escapes."""
    parts = []
    for row in rows:
        note = "" if kind.document else READ_ONLY
        if row.get("kind") == "virtual" and kind.document:
            note = VIRTUAL
        parts.append((f"# {note}\n" if note else "") + written(document(kind, row), ascii_only=ascii_only))
    return "---\n".join(parts)


def _prompt(item: object) -> object:
    if not isinstance(item, dict):
        return item
    of = {word: ref(item[word]) for word in OF if item.get(word)}
    return {"name": item["name"], **of} if of else item.get("name") or item.get("id")


