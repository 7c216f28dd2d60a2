"""``broker get``: lists rows of one kind, and watches them."""

from __future__ import annotations

import json
import sys

import click

from .completion import row_names
from .kinds import STATES, Kind, KindName
from .options import connection, finish
from .printing import FAILED, Cell, complain, fail, say, says_all, table

FORMS = ("table", "wide", "json", "yaml", "name")
WATCH_S = 2.0
MOST = 100
#: What changes at a living row although nothing happens to it.
RESTLESS = ("lastHeartbeatAt", "position")


@click.command()
@click.argument("kind", type=KindName())
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=row_names)
@click.option("-o", "--output", "form", type=click.Choice(FORMS), default="table", show_default=True, help="yaml can be applied again; json is what the API answers.")
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@click.option("-w", "--watch", is_flag=True, help="Go on with what changes, until interrupted.")
@click.option("--agent", metavar="NAME", help="Prompts or threads of that agent.")
@click.option("--project", metavar="NAME", help="Prompts of that project.")
@click.option("--state", type=click.Choice(STATES), help="Tasks in that state.")
@click.option("--limit", type=click.IntRange(min=1), default=MOST, show_default=True, help="The last so many threads, tasks or batches.")
@connection
def get(where, kind: Kind, names: tuple[str, ...], form: str, as_json: bool, watch: bool, agent: str | None,
        project: str | None, state: str | None, limit: int) -> None:
    """List rows: llms, pools, agents, sessions, threads, tasks, batches, projects, personalities, prompts, tool-servers or secrets.

    With NAMEs (or ids) only those.
    """
    form = "json" if as_json else form
    if agent and kind.plural not in ("prompts", "threads") or project and kind.plural != "prompts":
        raise click.UsageError("--agent is for prompts and threads, --project for prompts")
    if state and (kind.plural != "tasks" or names):
        raise click.UsageError("--state is for lists of tasks")
    if watch and form == "yaml":
        raise click.UsageError("what changes is shown as table, wide, name or json; not as yaml")
    filters = {word: value for word, value in (("agent", agent), ("project", project), ("state", state)) if value}
    finish(_get(where, Listing(kind, names, form, limit, filters), watch))


class Listing:
    """What was asked for; ``read`` reads it, ``show`` prints rows in the form that is wanted."""

    def __init__(self, kind: Kind, names: tuple[str, ...], form: str, limit: int, filters: dict[str, str]):
        self.kind = kind
        self._names = names
        self._form = form
        self._limit = limit
        self._filters = filters
        self._widths: list[int] = []

    async def read(self, api) -> tuple[list[dict], list[str]]:
        """The rows, and what the broker says of those that are not there."""
        from . import rows
        from .api import Refused

        if not self._names:
            return await rows.every(api, self.kind, most=self._limit, **self._filters), []
        found, missing = [], []
        for name in self._names:
            try:
                found.append(await rows.one(api, self.kind, name))
            except Refused as refused:
                if refused.status not in (404, 409):
                    raise
                said = str(refused)
                missing.append(said if name in said else f"{self.kind.singular}/{name}: {said}")
        return found, missing

    async def left(self, api, row: dict) -> dict | None:
        """A row that is in the list no more, as it is now: one of many pages goes when newer ones come, or its state is
        another. None when it is deleted."""
        from . import rows

        return await rows.one_or_none(api, self.kind, row[self.kind.key]) if self.kind.page and not self._names else None

    def show(self, found: list[dict]) -> None:
        if self._form == "json":
            alone = len(self._names) == 1 and len(found) == 1
            click.echo(json.dumps(found[0] if alone else found, indent=2))
        elif self._form == "yaml":
            from .written import text

            say(text(self.kind, found, ascii_only=not says_all(sys.stdout)), end="")
        elif self._form == "name":
            for row in found:
                say(f"{self.kind.singular}/{row[self.kind.key]}")
        elif found:
            self._table(found, head=True)
        else:
            say(f"there are no {self.kind.plural}", err=True)

    def show_change(self, row: dict, gone: bool) -> None:
        if self._form == "json":
            click.echo(json.dumps({"change": "deleted" if gone else "set", self.kind.singular: row}))
        elif self._form == "name":
            say(f"{self.kind.singular}/{row[self.kind.key]}" + (" deleted" if gone else ""))
        else:
            self._table([row], head=not self._widths, gone=gone)

    def _table(self, found: list[dict], *, head: bool, gone: bool = False) -> None:
        from .columns import cells, heads

        wide = self._form == "wide"
        lines = [cells(self.kind, row, wide) for row in found]
        if gone:
            lines = [[line[0], *([Cell("")] * (len(line) - 2)), Cell("deleted", "red")] for line in lines]
        self._widths = table(heads(self.kind, wide), lines, self._widths, head=head)


async def _get(where, listing: Listing, watch: bool) -> int:
    from .api import Api

    async with Api(where) as api:
        found, missing = await listing.read(api)
        if found or not missing:
            listing.show(found)
        if missing and not watch:
            fail("\n".join(missing))
        if watch:
            await _watch(api, listing, found)
    return FAILED if missing else 0


async def _watch(api, listing: Listing, before: list[dict]) -> None:
    """Prints what changes; a broker that is away for a while is said once."""
    import asyncio

    from .api import Broken, Refused, Unreachable

    known, away = _by_id(before), False
    while True:
        sys.stdout.flush()
        await asyncio.sleep(WATCH_S)
        try:
            found, _ = await listing.read(api)
            now = _by_id(found)
            gone = {key: await listing.left(api, known[key]) for key in known.keys() - now.keys()}
        except (Broken, Unreachable, Refused) as error:
            if isinstance(error, Refused) and error.status < 500:
                raise
            if not away:
                complain(str(error))
            away = True
            continue
        away = False
        for key, row in now.items():
            if key not in known or _still(row) != _still(known[key]):
                listing.show_change(row, gone=False)
        for key, row in gone.items():
            if row is None or _still(row) != _still(known[key]):
                listing.show_change(row or known[key], gone=row is None)
        known = now


def _by_id(found: list[dict]) -> dict[str, dict]:
    return {row.get("id") or row["name"]: row for row in found}


def _still(row: dict) -> dict:
    return {name: value for name, value in row.items() if name not in RESTLESS}
