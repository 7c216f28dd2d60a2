"""``broker edit``: one row in an editor, as the document that ``get -o yaml`` prints.

An edit of a row that somebody else edited meanwhile is refused. What was
typed is never lost: a refused text stays in a file.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .completion import row_names
from .kinds import Kind, KindName
from .options import connection, finish
from .printing import fail, say

if TYPE_CHECKING:
    from .api import Api, Where

HEAD = """\
# Save and leave to edit {title}; leave without a change to do nothing.
# A field that is taken out stays as it is.
"""


@click.command()
@click.argument("kind", type=KindName("document"))
@click.argument("name", shell_complete=row_names)
@connection
def edit(where: Where, kind: Kind, name: str) -> None:
    """Edit a row in $VISUAL or $EDITOR (else vi)."""
    finish(_edit(where, kind, name))


async def _edit(where: Where, kind: Kind, name: str) -> None:
    from . import rows
    from .api import Api, Broken, Misused, Refused, Unreachable
    from .written import document
    from .yaml_form import written

    async with Api(where) as api:
        row = await rows.one(api, kind, name)
    title = f"{kind.singular}/{row['name']}"
    if row.get("kind") == "virtual":
        fail(f"{title} is virtual: its publisher owns it; edit the publisher's config file")
    before = HEAD.format(title=title) + written(document(kind, row))
    file = _kept(kind, before)
    try:
        after = _edited(file)
        if after == before:
            file.unlink()
            say(f"{title} unchanged")
            return
        async with Api(where) as api:
            said = await _send(api, kind, row, after, str(file))
    except (Misused, Refused, Unreachable, Broken) as error:
        fail(f"{error}\nnothing was changed; your text is kept in {file}")
    file.unlink()
    say(f"{title} {said}")


async def _send(api: Api, kind: Kind, row: dict, text: str, file: str) -> str:
    """What became of it. Raises Misused, Refused."""
    from .api import Misused, segment
    from .documents import one
    from .known import Known

    document = one(text, file)
    known = await Known.read(api, [document])
    renamed = document.name != row["name"]
    if document.kind is not kind or renamed and kind.plural != "prompts" or known.key(document)[2:] != known.key_of(kind, row)[2:]:
        raise Misused("kind and name, and where a prompt belongs, cannot be changed; make another with `broker apply`")
    if wrong := known.complaints(document):
        raise Misused("\n".join(wrong))
    differs = known.differs(document, row)
    if not differs and not renamed:
        return "unchanged"
    body = {"version": row["version"], "name": document.name, **{name: known.sent(document, name) for name in differs}}
    await api.send("PATCH", f"{kind.path}/{segment(row[kind.key])}", body)
    return "edited"


def _kept(kind: Kind, text: str) -> Path:
    """A file with the text, which only this user can read."""
    number, name = tempfile.mkstemp(prefix=f"broker-{kind.singular}-", suffix=".yaml")
    with open(number, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)


def _edited(file: Path) -> str:
    """What the editor left. Ends the program if it did not run well."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(editor), str(file)]).returncode
    except (OSError, ValueError) as error:
        file.unlink()
        fail(f"the editor {editor!r} did not start ({error}): name yours in $EDITOR")
    if code:
        fail(f"the editor ended with {code}; nothing was changed, your text is kept in {file}")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        fail(f"the text is not UTF-8; nothing was changed, it is kept in {file}")
    except OSError as error:
        fail(f"the editor left no text in {file} ({error.strerror}); nothing was changed")
