"""The MCP server: which tools there are, and what calling one does.

Who asks comes with each request (``Asking``); the server itself is one for all and keeps nothing.
"""

from __future__ import annotations

from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR, INVALID_PARAMS, CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams,
    TextContent, Tool,
)

from broker import __version__
from broker.errors import Refusal
from broker.model import Agent

from .asking import Answer, Asking
from .names import tool_name

_INSTRUCTIONS = (
    "Each tool is an agent: a language model with a task of its own. Send it one message that holds all it needs to "
    "know, for it remembers nothing of calls before."
)
_INPUT = {
    "type": "object",
    "properties": {
        "message": {"type": "string", "description": "What the agent is told, with all that it needs to know."},
        "thread": {"type": "string", "description": "The id of a thread with this agent, to go on with. Usually left out."},
    },
    "required": ["message"],
    "additionalProperties": False,
}
_OUTPUT = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "description": "What the agent says."},
        "agent": {"type": "string", "description": "The agent's name."},
        "finishReason": {"type": "string", "description": "Why it ended: stop, length, …"},
        "usage": {"type": ["object", "null"], "description": "Tokens, as the LLM's server counts them."},
        "thread": {"type": "string", "description": "The thread that was gone on with."},
    },
    "required": ["text", "agent", "finishReason", "usage"],
}


def make_server() -> Server[Any]:
    return Server(
        "reveille", version=__version__, title="Reveille", instructions=_INSTRUCTIONS,
        on_list_tools=_list, on_call_tool=_call,
    )


async def _list(context: Any, _: PaginatedRequestParams | None) -> ListToolsResult:
    asking: Asking = context.request
    try:
        return ListToolsResult(tools=[_tool(agent) for agent in await asking.everybody()])
    except Refusal as refusal:
        raise MCPError(INTERNAL_ERROR, refusal.message) from None


async def _call(context: Any, call: CallToolRequestParams) -> CallToolResult:
    asking: Asking = context.request
    try:
        agent = await asking.called(call.name)
        if agent is None:
            raise MCPError(INVALID_PARAMS, f"There is no tool {call.name!r}; tools/list names those that there are.")
        if complaint := _complaint(call.arguments or {}):
            return _failed(complaint)
        message, thread = call.arguments["message"], call.arguments.get("thread")
        asked = asking.go_on(agent.name, thread, message) if thread else asking.ask(agent.name, message)
        return _answered(agent, await asked)
    except Refusal as refusal:
        return _failed(f"{refusal.message} ({refusal.code})")


def _tool(agent: Agent) -> Tool:
    description = agent.description.strip() or f"Asks the agent {agent.name}."
    return Tool(
        name=tool_name(agent.name), title=agent.name, description=description, input_schema=_INPUT, output_schema=_OUTPUT
    )


def _complaint(arguments: dict[str, Any]) -> str:
    """What is wrong with a call's arguments, for the LLM that made them up; empty if nothing is."""
    for name in arguments.keys() - _INPUT["properties"].keys():
        return f"There is no argument `{name}`; say everything in `message`."
    message = arguments.get("message")
    if not isinstance(message, str) or not message.strip():
        return "`message` must be a text that is not empty: what the agent is told."
    if not isinstance(arguments.get("thread", ""), str):
        return "`thread` must be a text: the id of a thread with this agent. Leave it out if you have none."
    return ""


def _answered(agent: Agent, answer: Answer) -> CallToolResult:
    told = {"text": answer.text, "agent": agent.name, "finishReason": answer.finish_reason, "usage": answer.usage}
    if answer.thread:
        told["thread"] = answer.thread
    content = [TextContent(text=text) for text in (answer.text, *(f"Warning: {warning}" for warning in answer.warnings))]
    return CallToolResult(content=content, structured_content=told)


def _failed(reason: str) -> CallToolResult:
    """Clients check structured content against the schema of answers, also on failures: there is none here."""
    return CallToolResult(content=[TextContent(text=reason)], is_error=True)
