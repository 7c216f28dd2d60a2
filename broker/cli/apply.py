"""``broker apply``: makes the broker's rows as documents say. The same documents again change nothing.

All documents are looked at before the first is sent. A field that a document leaves
out stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from .kinds import DOCUMENTS, PLURAL
from .options import connection, finish
from .printing import FAILED, complain, say

if TYPE_CHECKING:
    from .api import Api, Where
    from .documents import Document
    from .known import Known

DRY = " (dry run)"


@click.command()
@click.option("-f", "--file", "files", multiple=True, required=True, metavar="FILE", type=click.Path(exists=True, allow_dash=True),
              help="YAML or JSON with any number of documents; a folder of such; - for stdin. Several are possible.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@connection
def apply(where: Where, files: tuple[str, ...], dry_run: bool) -> None:
    """Make and edit rows as the documents in FILE say: Project, Prompt, Personality, LLM, Pool, Agent.

    Each is `kind`, `name` and the API's fields, as `broker get KIND -o yaml` prints them. One that is there already is
    edited where it differs.
    """
    finish(_apply(where, files, dry_run))


@dataclass
class Step:
    """One document, and what it waits for. ``later``: fields that are set when everything else is there."""

    document: Document
    row: dict | None
    awaits: dict[tuple[str, ...], str] = field(default_factory=dict)
    later: list[str] = field(default_factory=list)


async def _apply(where: Where, files: tuple[str, ...], dry_run: bool) -> int:
    from .api import Api, Misused
    from .documents import read
    from .known import Known

    documents = read(files)
    async with Api(where) as api:
        known = await Known.read(api, documents)
        wrong = [complaint for document in documents if not document.virtual for complaint in _complaints(known, document)]
        wrong += _twins(known, documents)
        if wrong:
            raise Misused("\n".join(wrong))
        return await _Sending(api, known, dry_run).all(documents)


def _complaints(known: Known, document: Document) -> list[str]:
    wrong = known.complaints(document)
    if known.row(document) is None:
        for names in document.kind.needs:
            if not any(document.fields.get(name) for name in names):
                told = " or ".join(f"`{name}`" for name in names)
                wrong.append(f"{document.place}: {document.kind.document} {document.name!r} is new and needs {told}")
    return wrong


def _twins(known: Known, documents: list[Document]) -> list[str]:
    """Documents that are about one row, once ids are names: one says the project's id and the other its name."""
    first: dict[tuple[str, ...], Document] = {}
    pairs = [(document, first.setdefault(known.key(document), document)) for document in documents]
    return [
        f"{document.place}: {document.kind.document} {document.name!r} is written already, at {other.place}"
        for document, other in pairs if other is not document
    ]


def ordered(steps: list[Step], known: Known) -> list[Step]:
    """Each after those that it awaits. In a circle (an agent, its personality, that one's prompt, which is the agent's)
    the agent comes first and gets its personality at the end."""
    done: list[Step] = []
    left = {known.key(step.document): step for step in steps}
    while left:
        ready = next((key for key, step in left.items() if not step.awaits.keys() & left.keys()), None)
        if ready is not None:
            done.append(left.pop(ready))
            continue
        step = next(step for step in left.values() if "defaultPersonality" in step.document.fields)
        step.later.append("defaultPersonality")
        step.awaits = {key: kind for key, kind in step.awaits.items() if kind != "personalities"}
    return done


class _Sending:
    """Sends documents, says of each what became of it, and counts those that were refused."""

    def __init__(self, api: Api, known: Known, dry_run: bool):
        self._api = api
        self._known = known
        self._dry = dry_run
        self._refused: set[tuple[str, ...]] = set()

    async def all(self, documents: list[Document]) -> int:
        rank = list(DOCUMENTS.values())
        steps = []
        for document in sorted(documents, key=lambda document: rank.index(document.kind)):
            if document.virtual:
                say(f"{document.title} skipped: it is virtual, its publisher's; edit the publisher's config file")
            else:
                steps.append(Step(document, self._known.row(document), self._known.awaited(document)))
        steps = ordered(steps, self._known)
        for step in steps:
            await self._one(step)
        for step in steps:
            if step.later and not self._dry and self._known.key(step.document) not in self._refused:
                await self._last(step)
        return FAILED if self._refused else 0

    async def _one(self, step: Step) -> None:
        from .api import Refused

        document, key = step.document, self._known.key(step.document)
        if missing := step.awaits.keys() & self._refused:
            plural, name, *_ = sorted(missing)[0]
            self._refuse(step, f"not sent, for {PLURAL[plural].singular}/{name} was refused")
            return
        try:
            verdict = await self._send(step)
        except Refused as refused:
            self._refuse(step, str(refused))
        else:
            say(f"{document.title} {verdict}{DRY if self._dry and key not in self._refused else ''}")

    async def _last(self, step: Step) -> None:
        """The fields that had to wait."""
        from .api import Refused

        try:
            await self._edit(step, step.later)
        except Refused as refused:
            self._refuse(step, str(refused))

    async def _send(self, step: Step) -> str:
        """What became of it. A publisher's row is not edited: the broker says so."""
        document, row = step.document, step.row
        if row is None or row.get("kind") == "virtual":
            body = {"name": document.name}
            for name in document.fields:
                value = self._known.sent(document, name)
                if name not in step.later and value not in (None, [], {}):
                    body[name] = value
            if not self._dry:
                self._known.learn(document, await self._api.send("POST", document.kind.path, body))
            return "created"
        differs = self._known.differs(document, row)
        if not differs:
            return "unchanged"
        if not self._dry:
            await self._edit(step, differs)
        return "configured"

    async def _edit(self, step: Step, names: list[str]) -> None:
        from .api import segment

        document = step.document
        row = self._known.row(document)
        body = {"version": row["version"], **{name: self._known.sent(document, name) for name in names}}
        path = f"{document.kind.path}/{segment(row[document.kind.key])}"
        self._known.learn(document, await self._api.send("PATCH", path, body))

    def _refuse(self, step: Step, why: str) -> None:
        self._refused.add(self._known.key(step.document))
        complain(f"{step.document.place}: {step.document.title}: {why}")
