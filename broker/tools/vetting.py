"""What a server says that it offers, looked through before an LLM is told.

A server may list anything: tools without a name, twice the same, schemas that no LLM server takes, or of megabytes.
What cannot be used is left out, and a warning says what and why.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from .schema import fault_of, whole
from .spec_names import spec_name

#: Of one tool, its description and schema as JSON.
TOOL_BYTES = 64 << 10
#: Of one server. More than these are not looked at.
MOST = 5000
#: LLM servers, and whoever writes their requests, give up at some depth; nobody writes a schema as deep as this.
DEEPEST = 64
_WARNINGS = 8


class Tool(NamedTuple):
    """``name``: what its server calls it; ``spec``: as OpenAI's API lists tools, under the name for the LLM."""

    name: str
    spec: dict

    @property
    def spec_name(self) -> str:
        return self.spec["function"]["name"]


class Offer(NamedTuple):
    tools: tuple[Tool, ...]
    warnings: tuple[str, ...]


def vetted(server: str, listed: list[Any]) -> Offer:
    """The usable ones of the tools that a server of that name listed, as MCP has them."""
    tools: dict[str, Tool] = {}
    faults: list[str] = []
    if len(listed) > MOST:
        faults.append(f"it lists {len(listed):,} tools; the first {MOST:,} count")
    for one in listed[:MOST]:
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, str) or not name:
            faults.append("a tool without a name was left out")
            continue
        spec = {"name": spec_name(server, name), "description": _description(one)}
        if spec["name"] in tools:
            faults.append(f"the tool {name[:80]!r} is listed twice; the first counts")
        elif fault := _fault(spec, one.get("inputSchema")):
            faults.append(f"the tool {name[:80]!r} was left out: {fault}")
        else:
            spec["parameters"] = whole(one["inputSchema"])
            tools[spec["name"]] = Tool(name, {"type": "function", "function": spec})
    said = faults[:_WARNINGS]
    if more := len(faults) - len(said):
        said.append(f"and {more:,} more faults like these")
    return Offer(tuple(tools.values()), tuple(f"Tool server {server!r}: {fault}." for fault in said))


def _description(tool: dict) -> str:
    for text in (tool.get("description"), tool.get("title")):
        if isinstance(text, str) and text:
            return text
    return ""


def _fault(spec: dict, schema: Any) -> str:
    if _is_deeper(schema, DEEPEST):
        return f"its input schema is nested more than {DEEPEST} deep"
    try:
        size = len(msgspec.json.encode([spec, schema]))
    except (RecursionError, UnicodeError, TypeError, msgspec.MsgspecError):
        return "its schema cannot be written as JSON"
    if size > TOOL_BYTES:
        return f"its description and schema are larger than {TOOL_BYTES >> 10} KiB"
    fault = fault_of(schema)
    return f"its input schema is not valid: {fault}" if fault else ""


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and objects lie in one another more than so often."""
    level = [value]
    for _ in range(most + 1):
        level = [inner for one in level for inner in _inner(one)]
    return bool(level)


def _inner(value: Any) -> Any:
    """What an object or a list holds that can hold something itself."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in held if isinstance(one, dict | list)]
