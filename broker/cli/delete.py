"""``broker delete``: deletes rows, by their names or as documents name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .completion import row_names
from .kinds import Kind, KindName
from .options import connection, finish
from .printing import FAILED, complain, say

if TYPE_CHECKING:
    from .api import Api, Where


@click.command()
@click.argument("kind", type=KindName("deletable"), required=False)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=row_names)
@click.option("-f", "--file", "files", multiple=True, metavar="FILE", type=click.Path(exists=True, allow_dash=True),
              help="Delete what the documents in FILE name, the last kinds first.")
@connection
def delete(where: Where, kind: Kind | None, names: tuple[str, ...], files: tuple[str, ...]) -> None:
    """Delete rows, by NAMEs or ids or as documents name them. What is deleted is gone."""
    if bool(files) == bool(kind) or bool(kind) != bool(names):
        raise click.UsageError("give either a kind and names, or -f with a file")
    finish(_delete_files(where, files) if files else _delete(where, kind, names))


async def _delete(where: Where, kind: Kind, names: tuple[str, ...]) -> int:
    from .api import Api

    async with Api(where) as api:
        done = [await _one(api, kind, name) for name in names]
    return 0 if all(done) else FAILED


async def _delete_files(where: Where, files: tuple[str, ...]) -> int:
    from .api import Api
    from .documents import read
    from .kinds import DOCUMENTS
    from .known import Known

    rank = list(DOCUMENTS.values())
    documents = sorted(read(files), key=lambda document: -rank.index(document.kind))
    done = []
    async with Api(where) as api:
        known = await Known.read(api, documents)
        for document in documents:
            if document.virtual:
                say(f"{document.title} skipped: it is virtual, its publisher's")
                continue
            row = known.row(document)
            if row is None:
                complain(f"{document.place}: {document.title} is not there")
            done.append(row is not None and await _one(api, document.kind, row[document.kind.key], document.name))
    return 0 if all(done) else FAILED


async def _one(api: Api, kind: Kind, key: str, name: str = "") -> bool:
    """Whether it is deleted now; says so."""
    from . import rows
    from .api import Refused

    try:
        await rows.delete(api, kind, key)
    except Refused as refused:
        complain(f"{kind.singular}/{name or key}: {refused}")
        return False
    say(f"{kind.singular}/{name or key} deleted")
    return True
