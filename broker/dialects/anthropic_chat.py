"""OpenAI's chat request, as far as it can be said to an Anthropic server. Shapes only.

What has no place here is either ignored (hints such as ``seed``) or refused by
``anthropic_request.py``. Schemas stay the bytes that they were.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct


class Text(Struct, tag_field="type", tag="text"):
    text: str


class Refusal(Struct, tag_field="type", tag="refusal"):
    refusal: str


class ImageAddress(Struct):
    url: str


class Image(Struct, tag_field="type", tag="image_url"):
    image_url: ImageAddress


class Called(Struct):
    name: str
    arguments: str = ""


class ToolCall(Struct):
    id: str
    function: Called
    type: Literal["function"] = "function"


class System(Struct, tag_field="role", tag="system"):
    content: str | list[Text]


class Developer(Struct, tag_field="role", tag="developer"):
    content: str | list[Text]


class User(Struct, tag_field="role", tag="user"):
    content: str | list[Text | Image]


class Assistant(Struct, tag_field="role", tag="assistant"):
    content: str | list[Text | Refusal] | None = None
    tool_calls: list[ToolCall] | None = None


class ToolAnswer(Struct, tag_field="role", tag="tool"):
    tool_call_id: str
    content: str | list[Text | Image] | None = None


Message = System | Developer | User | Assistant | ToolAnswer


class Function(Struct):
    name: str
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"null")
    strict: bool | None = None


class Tool(Struct):
    function: Function
    type: Literal["function"] = "function"


class FunctionName(Struct):
    name: str


class NamedTool(Struct):
    function: FunctionName
    type: Literal["function"] = "function"


class PlainText(Struct, tag_field="type", tag="text"):
    pass


class AnyJson(Struct, tag_field="type", tag="json_object"):
    pass


class Schema(Struct):
    schema: msgspec.Raw


class SchemaJson(Struct, tag_field="type", tag="json_schema"):
    json_schema: Schema


class StreamOptions(Struct):
    include_usage: bool | None = None


class Chat(Struct):
    """Every field may be ``null``, which is as if it were left out."""

    model: str
    messages: list[Message]
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: PlainText | AnyJson | SchemaJson | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    stream_options: StreamOptions | None = None
    # What Anthropic's API has no word for.
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: Any = None
    audio: Any = None
    modalities: list[str] | None = None
    functions: Any = None
    function_call: Any = None
    web_search_options: Any = None
