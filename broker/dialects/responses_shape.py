"""A request of OpenAI's Responses API, as far as it can be said in a chat. Shapes only.

Items and tools stay the bytes that they were until they are looked at, for they are
kept and shown again as they came. What is not named here is a hint that other
servers do not know (``prompt_cache_key``, ``include_obfuscation``) and is left out.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Raw, Struct, field


class InputText(Struct, tag_field="type", tag="input_text"):
    text: str


class OutputText(Struct, tag_field="type", tag="output_text"):
    text: str


class Refused(Struct, tag_field="type", tag="refusal"):
    refusal: str

    @property
    def text(self) -> str:
        return self.refusal


class InputImage(Struct, tag_field="type", tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFile(Struct, tag_field="type", tag="input_file"):
    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None
    file_url: str | None = None


class InputAudio(Struct, tag_field="type", tag="input_audio"):
    input_audio: dict[str, str]


Part = InputText | OutputText | Refused | InputImage | InputFile | InputAudio


class Kind(Struct):
    """What tells the kind of an item; a message may leave ``type`` out."""

    type: str = "message"
    id: str | None = None


class Message(Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]


class FunctionCall(Struct):
    call_id: str
    name: str
    arguments: str


class FunctionOutput(Struct):
    call_id: str
    output: str | list[InputText | InputImage | InputFile]


class Function(Struct):
    """A tool; ``type`` other than "function": one that runs at OpenAI, or is none that a chat knows."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: Raw = Raw(b"null")
    strict: bool | None = None


class Choice(Struct):
    type: str
    name: str | None = None
    mode: Literal["auto", "required"] = "auto"
    tools: list[dict[str, Any]] = field(default_factory=list)


class Format(Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str = "answer"
    schema: Raw = Raw(b"{}")
    description: str | None = None
    strict: bool | None = None


class TextConfig(Struct):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Struct):
    effort: str | None = None
    summary: str | None = None


class Asked(Struct):
    model: str | None = None
    input: str | list[Raw] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    store: bool | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    safety_identifier: str | None = None
    temperature: float | None = None
    text: TextConfig | None = None
    tool_choice: str | Choice | None = None
    tools: list[Raw] | None = None
    top_p: float | None = None
    user: str | None = None
    # What a chat has no words for.
    include: list[str] | None = None
    top_logprobs: int | None = None
    truncation: str | None = None
    conversation: Any = None
    prompt: Any = None
    context_management: Any = None
    moderation: Any = None
