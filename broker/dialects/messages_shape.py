"""A request of Anthropic's Messages API, as far as it can be said in OpenAI's chat. Shapes only.

What is not named here is a hint that other servers do not know (``cache_control``,
``service_tier``) and is left out. Schemas and inputs stay the bytes that they were.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct


class Text(Struct, tag_field="type", tag="text"):
    text: str


class Base64(Struct, tag_field="type", tag="base64"):
    media_type: str
    data: str


class Address(Struct, tag_field="type", tag="url"):
    url: str


class PlainText(Struct, tag_field="type", tag="text"):
    data: str


class Parts(Struct, tag_field="type", tag="content"):
    content: str | list[Text]


class Image(Struct, tag_field="type", tag="image"):
    source: Base64 | Address


class Document(Struct, tag_field="type", tag="document"):
    source: PlainText | Base64 | Parts
    title: str | None = None


class SearchResult(Struct, tag_field="type", tag="search_result"):
    source: str
    title: str
    content: list[Text]


class ToolUse(Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw = msgspec.Raw(b"{}")


class ToolResult(Struct, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[Text | Image | Document | SearchResult] | None = None
    is_error: bool | None = None


class Thinking(Struct, tag_field="type", tag="thinking"):
    pass


class RedactedThinking(Struct, tag_field="type", tag="redacted_thinking"):
    pass


class System(Struct, tag_field="role", tag="system"):
    content: str | list[Text]


class User(Struct, tag_field="role", tag="user"):
    content: str | list[Text | Image | Document | SearchResult | ToolResult]


class Assistant(Struct, tag_field="role", tag="assistant"):
    content: str | list[Text | ToolUse | Thinking | RedactedThinking]


Message = User | Assistant | System


class Tool(Struct):
    """``type`` other than "custom": a tool that runs at Anthropic."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = msgspec.Raw(b'{"type":"object","properties":{}}')
    strict: bool | None = None


class ToolChoice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Format(Struct):
    type: Literal["json_schema"]
    schema: msgspec.Raw


class OutputConfig(Struct):
    effort: str | None = None
    format: Format | None = None


class Metadata(Struct):
    user_id: str | None = None


class Asked(Struct):
    model: str
    messages: list[Message]
    max_tokens: int | None = None
    system: str | list[Text] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    # What no other server does.
    mcp_servers: list[Any] | None = None
