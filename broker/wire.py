"""What travels between broker and publisher, and nothing else.

A leaf: it imports msgspec only, because the publisher loads it too. Shapes here
are the published protocol (docs/virtual-llms.md); both sides ignore fields and
kinds that they do not know. JSON is camelCase on the wire, snake_case in Python.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

PROTOCOL = 1

#: Headers of the publisher's calls.
SESSION_HEADER = "X-Provider-Session"
INSTANCE_HEADER = "X-Provider-Instance"

#: What a tool server's name follows where LLMs are named. No LLM's name begins with ``_``.
TOOLS = "_tools/"
#: The operation of a call to a tool server.
MCP = "mcp"
#: The operation of a request of Anthropic's Messages API, and its headers that go with it.
MESSAGES = "messages"
MESSAGES_HEADERS = ("anthropic-version", "anthropic-beta")


class Frame(msgspec.Struct, rename="camel", omit_defaults=True):
    """One frame of the publisher's channel, broker → publisher.

    ``kind``: infer · wake · sleep · cancel · shutdown · superseded. ``request``
    is the raw JSON of the client's body; over 1 MB it is left out and
    ``request_url`` (a path below the broker's address) says where to get it.
    ``deadline_ms`` is what is left when the frame is written, not a clock time.
    ``headers`` are those of Anthropic's API that came with a ``messages``.
    """

    kind: str
    task_id: str = ""
    llm_name: str = ""
    operation: str = "chat"
    request: msgspec.Raw = msgspec.Raw()
    request_url: str | None = None
    streaming: bool = False
    deadline_ms: int = 0
    reason: str = ""
    retry_ms: int = 0
    headers: dict[str, str] = {}


class Chunk(msgspec.Struct, rename="camel", omit_defaults=True):
    """A piece of a stream, publisher → broker.

    Either ``data``, the payload of one SSE event without its ``data: ``, or
    ``events``, any number of whole events as text, each one exactly
    ``data: <payload>\\n\\n``. ``done`` ends the task.
    """

    data: str | None = None
    events: str | None = None
    done: bool = False


class Usage(msgspec.Struct, rename="camel", omit_defaults=True):
    """What one answer cost, in tokens, in whichever way the backend said it."""

    prompt_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    completion_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    total_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0


class Result(msgspec.Struct, rename="camel", omit_defaults=True):
    """One result frame, publisher → broker: the body of ``…/result`` and, with
    ``task_id``, a line of ``_provider-results``.

    One of: ``{status, headers?, body}`` ends the task with an answer (a JSON
    string as ``body`` is the text itself, any other JSON value is sent on as it
    is written; ``body_base64`` for bytes that are not UTF-8) · ``{status,
    headers}`` alone is the head of a stream · ``{chunk}`` · ``{error, code?}``
    ends the task · ``{accept: true}`` says "I have it". ``seq`` counts a task's
    frames from 0; frames with ``accept`` carry none. ``usage`` may ride on a last
    frame: for our counts only, callers get the backend's own words.
    """

    task_id: str = ""
    seq: int | None = None
    status: int | None = None
    headers: dict[str, str] | None = None
    body: msgspec.Raw = msgspec.Raw()
    body_base64: str | None = None
    chunk: Chunk | None = None
    error: str | None = None
    code: str | None = None
    accept: bool = False
    usage: Usage | None = None


class FrameAnswer(msgspec.Struct, rename="camel", omit_defaults=True):
    """What became of one frame: 200, 404 (not this session's, or ended), 409
    with ``expected`` (a gap). ``cancelled`` on a 200: the task was cancelled,
    send its last word and stop."""

    task_id: str
    status: int
    expected: int | None = None
    cancelled: bool = False


class ResultsAnswer(msgspec.Struct, rename="camel"):
    """The answer of ``_provider-results``: one entry per line, in order."""

    results: list[FrameAnswer]


class ProviderEntry(msgspec.Struct, rename="camel"):
    """An LLM that a publisher registers. Left-out optional fields keep their value."""

    name: str
    type: str | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET
    tier: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    extra_config: dict | msgspec.UnsetType = msgspec.UNSET
    # ``hibernating``, or ``draining``: active, but without new work. Anything else, of whatever type, counts as ``active``.
    initial_status: Any = msgspec.UNSET
    slots: int | msgspec.UnsetType = msgspec.UNSET
    group: str | msgspec.UnsetType = msgspec.UNSET
    # Other names by which clients may ask for it (api.md).
    aliases: list[str] | msgspec.UnsetType = msgspec.UNSET
    # What it takes beyond OpenAI's calls: ``messages``. Left out: nothing, whatever it said before.
    operations: list[str] | msgspec.UnsetType = msgspec.UNSET


class AgentEntry(msgspec.Struct, rename="camel"):
    """An agent that a publisher registers: pinned to the LLM ``llm_name``, or answered by any LLM with that ``model``."""

    name: str
    llm_name: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    system_prompt: str | msgspec.UnsetType = msgspec.UNSET
    project: str | None | msgspec.UnsetType = msgspec.UNSET
    default_params: dict | msgspec.UnsetType = msgspec.UNSET
    extras: dict | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET


class ToolServerEntry(msgspec.Struct, rename="camel"):
    """An MCP server at a publisher. Its tasks are frames of kind ``infer`` with the operation ``mcp`` for the LLM
    ``TOOLS + name``."""

    name: str
    description: str | msgspec.UnsetType = msgspec.UNSET
    slots: int | msgspec.UnsetType = msgspec.UNSET


class Registration(msgspec.Struct, rename="camel"):
    """The body of ``_provider-register``."""

    provider_session_id: str | None = None
    replace: bool = False
    accepts: bool = False
    providers: list[ProviderEntry] = []
    agents: list[AgentEntry] = []
    tool_servers: list[ToolServerEntry] = []


class Registered(msgspec.Struct, rename="camel"):
    """The broker's 201 to a registration."""

    provider_session_id: str
    heartbeat_seconds: float
    protocol: int
    llms: list[dict]
    agents: list[dict]
    tool_servers: list[dict] = []
