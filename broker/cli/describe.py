"""``broker describe``: everything about one row, for a person, with what belongs to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .completion import row_names
from .kinds import PLURAL, Kind, KindName
from .options import connection, finish
from .printing import say

if TYPE_CHECKING:
    from .api import Api, Where

LABEL = 22
MESSAGES = 20
#: Of a row of that kind: rows of which kinds name it, and in which field (and which field of the entries in that).
RELATED = {
    "llms": (("agents", "llm", ""),),
    "projects": (("agents", "project", ""), ("prompts", "project", "")),
    "personalities": (("agents", "defaultPersonality", ""),),
    "prompts": (("personalities", "prompts", ""),),
    "agents": (("prompts", "agent", ""),),
    "secrets": (("llms", "apiKeyRef", ""), ("projects", "mcpServers", "apiKeyRef")),
    "tool-servers": (("projects", "mcpServers", "toolServer"),),
}


@click.command()
@click.argument("kind", type=KindName())
@click.argument("name", shell_complete=row_names)
@connection
def describe(where: Where, kind: Kind, name: str) -> None:
    """Show all of one row, by NAME or id, and what belongs to it."""
    finish(_describe(where, kind, name))


async def _describe(where: Where, kind: Kind, name: str) -> None:
    from . import rows
    from .api import Api, segment

    async with Api(where) as api:
        row = await rows.one(api, kind, name)
        for field, value in row.items():
            _show(field, value)
        for other, field, within in RELATED.get(kind.plural, ()):
            _related(other, [each["name"] for each in await rows.every(api, PLURAL[other]) if _names(each.get(field), within, row)])
        if kind.plural == "threads":
            await _messages(api, f"{kind.path}/{segment(row['id'])}/messages")


def _show(field: str, value: object) -> None:
    from .columns import age, ref

    label = _label(field)
    if value is None or value in ("", [], {}):
        say(f"{label}-")
    elif isinstance(value, str) and "\n" in value:
        _below(label, value.splitlines())
    elif field.endswith(("At", "Since")) and isinstance(value, str):
        say(f"{label}{value} ({age(value)} ago)")
    elif isinstance(value, dict) and value.keys() <= {"id", "name"}:
        say(f"{label}{ref(value)}" + ("" if value.get("id") else " (not there)"))
    elif isinstance(value, dict):
        _below(label, [f"{name}: {json.dumps(item, ensure_ascii=False)}" for name, item in value.items()])
    elif isinstance(value, list):
        _below(label, [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value])
    else:
        say(f"{label}{json.dumps(value) if isinstance(value, bool) else value}")


def _label(field: str) -> str:
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in field)
    return f"{spaced[:1].upper()}{spaced[1:]}:".ljust(LABEL)


def _below(label: str, lines: list[str]) -> None:
    say(label.rstrip())
    for line in lines:
        say(f"  {line}")


def _names(value: object, within: str, row: dict) -> bool:
    if isinstance(value, list):
        return any(_names(item.get(within) if within else item, "", row) for item in value)
    if isinstance(value, dict):
        return value.get("id") == row.get("id") if value.get("id") else value.get("name") == row.get("name")
    return value is not None and value == row["name"]


def _related(kind: str, names: list[str]) -> None:
    if names:
        _below(_label(kind), names)


async def _messages(api: Api, path: str) -> None:
    """The last ones."""
    from .spoken import history, tell

    found = await history(api, path)
    if found:
        say(f"Messages ({len(found)}):" if len(found) <= MESSAGES else f"Messages (the last {MESSAGES} of {len(found)}):")
    for message in found[-MESSAGES:]:
        tell(message, indent="  ")
