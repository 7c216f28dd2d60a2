"""``broker describe``: everything about one row, for a person, with what belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .completion import row_names
from .kinds import PLURAL, Kind, KindName
from .options import connection, finish
from .printing import say

if TYPE_CHECKING:
    from .api import Api, Where

MESSAGES = 20
#: What is not shown as the other fields are.
OWN_WAY = {("pools", "members"), ("tasks", "attempts"), ("tasks", "result"), ("tasks", "error")}
#: Of a row of that kind: rows of which kinds name it, and in which field (and which field of the entries in that).
RELATED = {
    "llms": (("agents", "llm", ""),),
    "projects": (("agents", "project", ""), ("prompts", "project", "")),
    "personalities": (("agents", "defaultPersonality", ""),),
    "prompts": (("personalities", "prompts", ""),),
    "agents": (("prompts", "agent", ""),),
    "pools": (("agents", "model", ""),),
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
    from .labels import show
    from .task_told import tell_task

    async with Api(where) as api:
        row = await rows.one(api, kind, name)
        for field, value in row.items():
            if (kind.plural, field) not in OWN_WAY:
                show(field, value)
        if kind.plural == "tasks":
            await tell_task(api, row)
        if kind.plural == "pools":
            _members(row, await rows.every(api, PLURAL["llms"]))
        for other, field, within in RELATED.get(kind.plural, ()):
            _related(other, [each["name"] for each in await rows.every(api, PLURAL[other]) if _names(each.get(field), within, row)])
        if kind.plural == "threads":
            await _messages(api, f"{kind.path}/{segment(row['id'])}/messages")


def _names(value: object, within: str, row: dict) -> bool:
    if isinstance(value, list):
        return any(_names(item.get(within) if within else item, "", row) for item in value)
    if isinstance(value, dict):
        return value.get("id") == row.get("id") if value.get("id") else value.get("name") == row.get("name")
    return value is not None and value == row["name"]


def _related(kind: str, names: list[str]) -> None:
    from .labels import below

    if names:
        below(kind, names)


def _members(pool: dict, llms: list[dict]) -> None:
    """Whom it names, and who that is just now."""
    from .columns import status
    from .labels import below
    from .membership import members, spelled
    from .printing import Cell, table

    below("members", map(spelled, pool["members"]))
    found = members(pool, llms)
    below("llms", [] if found else ["none fits its members just now"])
    if found:
        rows = [
            [Cell(llm["name"]), status(llm), Cell(llm["kind"]), Cell(str(entry.get("tier", 0))), Cell(f"{entry.get('weight', 1):g}")]
            for llm, entry in found
        ]
        table(["NAME", "STATUS", "KIND", "TIER", "WEIGHT"], rows, indent="  ")


async def _messages(api: Api, path: str) -> None:
    """The last ones."""
    from .spoken import history, tell

    found = await history(api, path)
    if found:
        say(f"Messages ({len(found)}):" if len(found) <= MESSAGES else f"Messages (the last {MESSAGES} of {len(found)}):")
    for message in found[-MESSAGES:]:
        tell(message, indent="  ")
