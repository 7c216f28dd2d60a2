"""The kinds of rows that the client verbs know: their words, their paths, and the fields that a document of one has.

Only names and rules; how rows look in a table is in ``columns.py``. It calls nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import click
from click.shell_completion import CompletionItem

TEXT, OBJECT, LIST, YES_NO = "a text", "an object", "a list", "true or false"


@dataclass(frozen=True, slots=True)
class Field:
    """``is_a``: what a value must be. ``empty``: may it be null, which takes away what was there. ``names``: the kind of
    row that a value refers to, by its name, its id or an object with one of the two. ``usual``: what the entries of a list
    have that do not say it."""

    name: str
    is_a: str = TEXT
    empty: bool = False
    names: str = ""
    usual: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """``document``: its word in files, '' for a kind that nobody writes. ``key``: the field that stands for a row in a
    path. ``fields`` come after ``name``; ``needs``: of each of these, one must be there when a row is made. ``page``: most
    rows of one answer, 0 where all come at once. ``instead``: what a person may want who would delete one."""

    plural: str
    singular: str
    path: str
    document: str = ""
    key: str = "name"
    fields: tuple[Field, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()
    deletable: bool = True
    words: tuple[str, ...] = field(default=())
    page: int = 0
    instead: str = ""


KINDS = (
    Kind("projects", "project", "/api/v1/projects", "Project", fields=(
        Field("description"), Field("mcpServers", LIST),
    )),
    Kind("prompts", "prompt", "/api/v1/prompts", "Prompt", key="id", needs=(("content",),), fields=(
        Field("project", empty=True, names="projects"), Field("agent", empty=True, names="agents"), Field("content"),
    )),
    Kind("personalities", "personality", "/api/v1/personalities", "Personality", fields=(
        Field("description"), Field("prompts", LIST, names="prompts"), Field("params", OBJECT),
    )),
    Kind("llms", "llm", "/api/v1/llms", "LLM", needs=(("url",),), fields=(
        Field("type"), Field("model"), Field("url"), Field("tier"), Field("description"),
        Field("apiKeyRef", empty=True, names="secrets"),
        Field("extraConfig", OBJECT), Field("aliases", LIST),
    )),
    Kind("pools", "pool", "/api/v1/pools", "Pool", needs=(("members",),), fields=(
        Field("description"), Field("members", LIST, usual=(("weight", 1), ("tier", 0))), Field("affinity", YES_NO),
    )),
    Kind("agents", "agent", "/api/v1/agents", "Agent", needs=(("llm", "model"),), fields=(
        Field("description"), Field("systemPrompt"), Field("llm", empty=True, names="llms"), Field("model", empty=True),
        Field("project", empty=True, names="projects"), Field("defaultPersonality", empty=True, names="personalities"),
        Field("defaultParams", OBJECT), Field("extras", OBJECT),
    )),
    Kind("sessions", "session", "/api/v1/sessions", key="id", deletable=False),
    Kind("threads", "thread", "/api/v1/threads", key="id", page=200),
    Kind("tasks", "task", "/api/v1/tasks", key="id", deletable=False, page=200,
         instead="`broker task cancel` ends a task, `broker task purge` forgets ended ones"),
    Kind("batches", "batch", "/v1/batches", key="id", deletable=False, page=100),
    Kind("tool-servers", "tool-server", "/api/v1/tool-servers", words=("toolservers", "toolserver")),
    Kind("secrets", "secret", "/api/v1/secrets"),
)
#: Those of documents, in the order in which they are applied: each after what it may name.
DOCUMENTS = {kind.document: kind for kind in KINDS if kind.document}
#: Where a prompt may belong; without one of them it is everybody's.
OF = ("project", "agent")
#: Where a durable task can be.
STATES = ("queued", "running", "done", "failed", "cancelled", "dead")
#: Fields of which a document has at most one.
EITHER = {"agents": ("llm", "model"), "prompts": OF}
PLURAL = {kind.plural: kind for kind in KINDS}
_CALLED = {word: kind for kind in KINDS for word in (kind.plural, kind.singular, *kind.words)}


class KindName(click.ParamType):
    """An argument that names a kind: ``llms``, ``llm``. ``which``: what is true of the kinds that the verb takes."""

    name = "kind"

    def __init__(self, attribute: str = "plural"):
        self._kinds = [kind for kind in KINDS if getattr(kind, attribute)]

    def convert(self, value: str | Kind, param: click.Parameter | None, ctx: click.Context | None) -> Kind:
        kind = value if isinstance(value, Kind) else _CALLED.get(value.lower())
        if kind not in self._kinds:
            instead = f"; {kind.instead}" if kind and kind.instead else ""
            self.fail(f"{value!r} is none of {', '.join(kind.plural for kind in self._kinds)}{instead}", param, ctx)
        return kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
        return [CompletionItem(kind.plural) for kind in self._kinds if kind.plural.startswith(begun)]
