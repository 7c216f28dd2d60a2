"""What a publisher is told to publish, as plain values.

Filled from the command line or by ``file.py``. It reads no file and no
environment, and it loads nothing that a start without a config file need not pay for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from broker import wire

MAX_WAIT_S = 60.0
MIN_AWAKE_S = 10.0
GROUP_WAIT_S = 60.0
TOOL_SLOTS = 4
TOOL_IDLE_S = 300.0
TOOL_TIMEOUT_S = 60.0

Operation = Literal["chat", "completions", "embeddings"]


class ConfigError(Exception):
    """Something a person wrote cannot be used; the message says where and how to fix it."""


# ── steps of recipes ────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Http:
    """One HTTP request; any 2xx is success."""

    url: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Command:
    """One program, without a shell; exit code 0 is success."""

    command: str
    args: tuple[str, ...] = ()
    timeout_s: float = 120.0
    env: dict[str, str] = field(default_factory=dict, repr=False)
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """The server itself, started and watched by the publisher (in ``wake`` only)."""

    command: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    directory: str | None = None
    log_file: str | None = None  # None: below the state directory, by the provider's name
    grace_s: float = 10.0  # from SIGTERM to SIGKILL


@dataclass(frozen=True, slots=True)
class StopProcess:
    """Ends the process of the ``wake`` recipe (in ``sleep`` only)."""


@dataclass(frozen=True, slots=True)
class Native:
    """The backend's own way: it loads or unloads the model. What does not fit the type is refused by the schema."""

    keep_alive: str | None = None  # Ollama, on waking: "30m", "-1" …
    level: int | None = None  # vLLM, on sleeping: 1 or 2


@dataclass(frozen=True, slots=True)
class WakeOnLan:
    mac: str
    broadcast: str = "255.255.255.255"
    port: int = 9


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Waits until an address answers with anything below 500."""

    url: str
    timeout_s: float = 120.0


Step = Http | Command | Process | StopProcess | Native | WakeOnLan | WaitFor


@dataclass(frozen=True, slots=True)
class Recipe:
    """Steps in order; the first that fails ends it."""

    steps: tuple[Step, ...]

    @property
    def native(self) -> bool:
        return any(isinstance(step, Native) for step in self.steps)

    @property
    def process(self) -> Process | None:
        return next((step for step in self.steps if isinstance(step, Process)), None)


# ── what is published ───────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Pattern:
    """Some of a server's models, and how those are published. ``None``: as the provider says.

    ``match`` is a glob over model names; with a leading ``!`` it takes models out again.
    ``name`` and each alias may hold ``{model}``.
    """

    match: str
    name: str | None = None
    aliases: tuple[str, ...] | None = None
    description: str | None = None
    tier: str | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class WarmHours:
    """A time of the week in which a model is kept awake.

    Minutes of the day, the end up to 1440. An end that is not after the beginning is the next day's.
    """

    days: frozenset[int]  # on which it begins; 0 is Monday
    begins_min: int
    ends_min: int
    timezone: str | None = None  # None: the machine's


@dataclass(frozen=True, slots=True)
class Provider:
    """One model of one LLM server, or, with ``patterns``, as many as those match.

    Optional texts are ``None`` when left out: the broker then keeps its own.
    """

    name: str  # with patterns: a template that holds {model}
    url: str
    model: str = ""  # empty with patterns
    patterns: tuple[Pattern, ...] = ()
    type: str = "openai"
    api_key: str | None = field(default=None, repr=False)
    slots: int | None = None  # None: what the backend tells, else 1
    aliases: tuple[str, ...] | None = None
    tier: str | None = None
    description: str | None = None
    extra_config: dict | None = None
    wake: Recipe | None = None
    max_wait_s: float = MAX_WAIT_S
    sleep: Recipe | None = None
    idle_s: float | None = None  # asleep after so long without work; None: never by itself
    min_awake_s: float = MIN_AWAKE_S
    warm_hours: tuple[WarmHours, ...] = ()  # awake by the calendar
    group: str | None = None  # of those with the same group only one is awake at a time
    group_wait_s: float = GROUP_WAIT_S  # so long it lets another one of them go on taking work
    canary: Operation | None = None  # after a wake, one token of this is generated before waiters are let in

    def entry(self, status: str, slots: int, operations: tuple[str, ...] = ()) -> wire.ProviderEntry:
        """This provider as it is registered: what stays local is not in it."""
        entry = wire.ProviderEntry(
            name=self.name, type=self.type, model=self.model, slots=slots, initial_status=status
        )
        if self.aliases is not None:
            entry.aliases = list(self.aliases)
        if self.tier is not None:
            entry.tier = self.tier
        if self.description is not None:
            entry.description = self.description
        if self.extra_config is not None:
            entry.extra_config = self.extra_config
        if self.group is not None:
            entry.group = self.group
        if operations:
            entry.operations = list(operations)
        return entry


@dataclass(frozen=True, slots=True)
class ToolServer:
    """An MCP server: a program that is spoken to by stdio, or one at an address (then there is no ``command``)."""

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    directory: str | None = None
    url: str = ""
    description: str | None = None
    slots: int = TOOL_SLOTS
    idle_s: float = TOOL_IDLE_S  # stopped after so long without a call
    timeout_s: float = TOOL_TIMEOUT_S  # of one call

    def entry(self) -> wire.ToolServerEntry:
        """This tool server as it is registered: what stays local is not in it."""
        entry = wire.ToolServerEntry(self.name, slots=self.slots)
        if self.description is not None:
            entry.description = self.description
        return entry


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    url: str
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)  # None: as the environment says; "none": none


@dataclass(frozen=True, slots=True)
class Config:
    """``providers`` and ``tools`` hold the published ones only; ``unpublished`` counts the others."""

    brokers: tuple[BrokerAddress, ...] = ()
    providers: tuple[Provider, ...] = ()
    agents: tuple[wire.AgentEntry, ...] = ()
    unpublished: int = 0
    tools: tuple[ToolServer, ...] = ()

    @property
    def publishes(self) -> bool:
        """Whether there is anything to publish; agents alone are nothing."""
        return bool(self.providers or self.tools)
