"""What is registered beside the LLMs of the roster: agents and tool servers, as the config has them."""

from __future__ import annotations

from typing import NamedTuple

from broker.wire import AgentEntry, ToolServerEntry


class Beside(NamedTuple):
    """``llms_come``: LLMs are configured too, so agents, pinned to them perhaps, wait for the first one."""

    agents: tuple[AgentEntry, ...] = ()
    tools: tuple[ToolServerEntry, ...] = ()
    llms_come: bool = True
