"""``broker explain``: why a pool chose whom for a request, and what that cost, with a table of candidates for each attempt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .options import connection, finish
from .printing import Cell, say, table

if TYPE_CHECKING:
    from .api import Api, Where

#: What a pool's key begins with.
_KINDS = {"p": "pool", "a": "alias", "m": "model"}
_COLOURS = {"warm": "green", "public": "green", "asleep": "yellow", "full": "yellow", "broken": "red", "away": "red"}


@click.command()
@click.argument("request")
@click.option("--json", "as_json", is_flag=True, help="What the API answers.")
@connection
def explain(where: Where, request: str, as_json: bool) -> None:
    """Say why a REQUEST to a pool, an alias or a model was answered by whom, and what it waited for.

    REQUEST is the X-Request-Id of its answer; `/explain` in `broker chat` tells of the last one there. What was decided is
    told for a quarter of an hour.
    """
    finish(_explain(where, request, as_json))


async def _explain(where: Where, request: str, as_json: bool) -> None:
    from .api import Api

    async with Api(where) as api:
        told = await read(api, request)
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        tell(told)


async def read(api: Api, request: str) -> dict:
    """Raises Refused, Unreachable."""
    from .api import segment

    return await api.get(f"/api/v1/requests/{segment(request)}/explain")


def tell(told: dict) -> None:
    """All of it, for a person."""
    from .labels import labelled

    first, *others = told["attempts"]
    kind, _, name = first["pool"].partition(":")
    say(f"{labelled('request')}{told['id']}")
    say(f"{labelled('asked')}{first['asked']} ({_KINDS.get(kind, kind)} {name})")
    say(f"{labelled('servedBy')}{told['servedBy'] or '-'}")
    say(f"{labelled('waited')}{_span(told['waitMs'])} in line, {_span(told['wakeMs'])} for a wake")
    say(f"{labelled('attempts')}{1 + len(others)}")
    for number, attempt in enumerate(told["attempts"], 1):
        say()
        _tell_attempt(number, attempt, alone=not others)


def _tell_attempt(number: int, attempt: dict, *, alone: bool) -> None:
    who = f"{attempt['llm']}, {attempt['why']}" if attempt["llm"] else "nobody"
    say(f"Attempt {number}: {attempt['verdict']}, {who}" + (f"; it failed: {attempt['failed']}" if attempt["failed"] else ""),
        "red" if attempt["failed"] or not attempt["llm"] else None)
    if attempt["waiting"]:
        say(f"  {attempt['waiting']} stood in the pool's line already")
    if not alone and (attempt["waitMs"] or attempt["wakeMs"]):
        say(f"  it waited {_span(attempt['waitMs'])} in line, {_span(attempt['wakeMs'])} for a wake")
    if not attempt["candidates"]:
        return
    rows = [
        [Cell(one["llm"]), Cell(one["standing"], _COLOURS.get(one["standing"])), Cell(str(one["tier"])),
         Cell(f"{one['running']}/{one['slots'] or '?'}"), Cell(f"{one['score']:g}"), Cell(_span(one["averageMs"]) if one["averageMs"] else "")]
        for one in attempt["candidates"]
    ]
    table(["CANDIDATE", "STANDING", "TIER", "RUNNING", "SCORE", "MEAN"], rows, indent="  ")


def _span(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
