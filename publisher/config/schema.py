"""The shape of the config file: its fields, what each may be, what it means.

Field names are those of the file; the descriptions are what editors show. What
one field forbids another is told by ``provider.py`` and its like.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from publisher.backends.types import TYPES
from publisher.config.fields import (
    Address,
    AddressOfBroker,
    Days,
    EndOfTime,
    Environment,
    Line,
    ModelName,
    Name,
    PathOfFile,
    Proxy,
    Seconds,
    SecondsOrZero,
    Slots,
    Text,
    TimeOfDay,
    must,
)
from publisher.config.recipe_schema import Arguments, Directory, Sleep, Wake
from publisher.config.values import GROUP_WAIT_S, MIN_AWAKE_S, TOOL_IDLE_S, TOOL_SLOTS, TOOL_TIMEOUT_S

Tier = Literal["fast", "heavy"]
Aliases = Annotated[
    list[Name] | None, Meta(description="Other names by which it can be asked for. With patterns each holds {model}.")
]
Description = Annotated[str | None, Meta(description="Shown with the row. Left out: the row keeps what it has.")]
Token = Annotated[Line | None, Meta(description="A token with the role publisher; none while the broker is open.")]
TokenFile = Annotated[PathOfFile | None, Meta(description="A file that holds the token, instead of token.")]
CaFile = Annotated[PathOfFile | None, Meta(description="A PEM file of certificate authorities to trust besides the system's.")]
ProxyOfBroker = Annotated[
    Proxy | None,
    Meta(description='The proxy on the way to the broker. Left out: as HTTPS_PROXY and NO_PROXY say; "none": none.'),
]


class Entry(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is written in braces; a field that is not known is a mistake."""


class BrokerEntry(Entry):
    """One of several brokers."""

    url: Annotated[AddressOfBroker, Meta(description="The broker's address.")]
    token: Token = None
    tokenFile: TokenFile = None
    caFile: CaFile = None
    proxy: ProxyOfBroker = None


class ModelEntry(Entry):
    """Some of the server's models, and how those are published. Left out: as the provider says."""

    match: Annotated[Text, Meta(description='A model\'s name, or a pattern like "qwen*". A leading ! takes models out.')]
    name: Annotated[Name | None, Meta(description="Their published name; {model} stands for the model's.")] = None
    aliases: Aliases = None
    description: Description = None
    tier: Annotated[Tier | None, Meta(description="Which class of LLM these are.")] = None
    slots: Annotated[Slots | None, Meta(description="Requests at once, for each of them.")] = None


class HoursEntry(Entry):
    """A time of the week in which an LLM is kept awake."""

    from_: Annotated[TimeOfDay, Meta(description="When it begins.")] = field(name="from")
    to: Annotated[EndOfTime, Meta(description="When it ends; not after from: on the next day.")]
    days: Annotated[Days, Meta(description="On which it begins: days and ranges of days. Left out: every day.")] = "mon-sun"
    timezone: Annotated[
        Text | None, Meta(description='The clock that counts, like "Europe/Berlin". Left out: this machine\'s.')
    ] = None


class ProviderEntry(Entry):
    """One model of one LLM server, or with patterns as many as match."""

    name: Annotated[
        Name | None,
        Meta(description="The published name. With patterns it holds {model}, and may be left out."),
    ] = None
    type: Annotated[Literal[TYPES], Meta(description="The type of server.")] = "openai"
    model: Annotated[
        Text | None,
        Meta(description="The model's name at the server; with *, ? or [ a pattern. Left out: the published name."),
    ] = None
    models: Annotated[
        Annotated[list[Text | ModelEntry], must("hold at least one pattern", min_length=1)] | None,
        Meta(description='Several models: names and patterns like "qwen*"; "!pattern" takes models out.'),
    ] = None
    publish: Annotated[bool, Meta(description="Nothing is published without it.")] = False
    url: Annotated[
        Address | None,
        Meta(description="The server's address. Required for openai (with /v1); the others have a usual one."),
    ] = None
    apiKey: Annotated[Line | None, Meta(description="The server's key. It is never sent to the broker.")] = None
    apiKeyFile: Annotated[PathOfFile | None, Meta(description="A file that holds the key, instead of apiKey.")] = None
    slots: Annotated[
        Slots | None,
        Meta(description="Requests at once; never more reach the server. Left out: what it tells, else 1."),
    ] = None
    aliases: Aliases = None
    tier: Annotated[
        Tier | None, Meta(description="Which class of LLM it is. Left out: the row keeps what it has.")
    ] = None
    description: Description = None
    extraConfig: Annotated[dict[str, Any] | None, Meta(description="Anything to be kept with the row.")] = None
    wake: Annotated[Wake | None, Meta(description="How to wake it when someone asks and it sleeps.")] = None
    sleep: Annotated[Sleep | None, Meta(description="How to put it to sleep.")] = None
    idleSeconds: Annotated[
        Seconds | None, Meta(description="Put it to sleep after so long without work. Left out: never by itself.")
    ] = None
    minAwakeSeconds: Annotated[
        SecondsOrZero, Meta(description="Once awake, it stays awake for at least so long.")
    ] = MIN_AWAKE_S
    warmHours: Annotated[
        Annotated[list[HoursEntry], must("hold at least one time", min_length=1)] | None,
        Meta(description="When it is woken without being asked for, and not put to sleep for want of work."),
    ] = None
    group: Annotated[
        Name | None, Meta(description="Of those with the same group, as on one GPU, only one is awake at a time.")
    ] = None
    groupWaitSeconds: Annotated[
        SecondsOrZero | None,
        Meta(description=f"Asked for, it lets another one of its group take work for so long yet. Left out: {GROUP_WAIT_S:g}."),
    ] = None
    canary: Annotated[
        bool | Literal["chat", "completions", "embeddings"],
        must('be true, false, "chat", "completions" or "embeddings"'),
        Meta(description="After a wake, one token is generated before waiting requests are let in. true: by chat."),
    ] = False


class AgentEntry(Entry):
    """A persona, pinned to an LLM or to a model."""

    name: Annotated[Name, Meta(description="The agent's name.")]
    llmName: Annotated[Name | None, Meta(description="The LLM it is pinned to.")] = None
    model: Annotated[
        ModelName | None, Meta(description="A model, instead of llmName: any live LLM at the broker that has it answers.")
    ] = None
    description: Annotated[str | None, Meta(description="Shown with the agent.")] = None
    systemPrompt: Annotated[str | None, Meta(description="Stands before every conversation.")] = None
    project: Annotated[str | None, Meta(description="The project it belongs to. Left out: none.")] = None
    defaultParams: Annotated[dict[str, Any] | None, Meta(description="Parameters of a request, like temperature.")] = None
    extras: Annotated[dict[str, Any] | None, Meta(description="Anything to be kept with the agent.")] = None


class ToolEntry(Entry):
    """An MCP server, for the tools of chats at the broker: a program, or one at an address."""

    name: Annotated[Name, Meta(description="The published name, by which projects at the broker name it.")]
    publish: Annotated[bool, Meta(description="Nothing is published without it.")] = False
    command: Annotated[
        Text | None, Meta(description="The program, spoken to by stdio: its path, or its name on the PATH.")
    ] = None
    args: Arguments = []
    env: Annotated[
        Environment, Meta(description="The program's variables, besides PATH, HOME and the like. It gets no others.")
    ] = {}
    cwd: Directory = None
    url: Annotated[Address | None, Meta(description="The server's address (streamable HTTP), instead of command.")] = None
    description: Description = None
    slots: Annotated[Slots, Meta(description="Calls at once.")] = TOOL_SLOTS
    idleSeconds: Annotated[
        Seconds, Meta(description="The program is stopped after so long without a call; the next call starts it again.")
    ] = TOOL_IDLE_S
    timeoutSeconds: Annotated[Seconds, Meta(description="How long one call may take.")] = TOOL_TIMEOUT_S


class ConfigFile(Entry):
    """The publisher's config file."""

    schema: Annotated[
        str | None, Meta(description="Where an editor finds this schema. The publisher ignores it.")
    ] = field(name="$schema", default=None)
    broker: Annotated[AddressOfBroker | None, Meta(description="The broker's address.")] = None
    token: Token = None
    tokenFile: TokenFile = None
    caFile: CaFile = None
    proxy: ProxyOfBroker = None
    brokers: Annotated[
        Annotated[list[BrokerEntry], must("hold at least one broker", min_length=1)] | None,
        Meta(description="Several brokers at once, instead of broker."),
    ] = None
    providers: Annotated[list[ProviderEntry], Meta(description="The LLMs of this machine.")] = []
    agents: Annotated[list[AgentEntry], Meta(description="Personas, each pinned to an LLM or to a model.")] = []
    tools: Annotated[list[ToolEntry], Meta(description="MCP servers of this machine.")] = []
