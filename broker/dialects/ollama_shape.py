"""Requests of Ollama's API, as far as they can be said to an OpenAI server. Shapes only.

Every field may be ``null``, which is as if it were left out. What is not named here
(``keep_alive``, ``truncate``, most ``options``) is the LLM server's own business.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct


class Options(Struct):
    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: float | None = None


class Called(Struct):
    name: str
    arguments: dict[str, Any] | str | None = None


class Call(Struct):
    function: Called
    id: str | None = None


class Message(Struct):
    role: str
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Chat(Struct):
    model: str
    messages: list[Message] | None = None
    tools: list[msgspec.Raw] | None = None
    format: str | dict | None = None
    options: Options | None = None
    stream: bool | None = None
    think: bool | str | None = None


class Generate(Struct):
    model: str
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    images: list[str] | None = None
    raw: bool | None = None
    format: str | dict | None = None
    options: Options | None = None
    stream: bool | None = None
    think: bool | str | None = None
    # What no other server does.
    template: str | None = None
    context: list[int] | None = None


class Embed(Struct):
    model: str
    input: str | list[str] | None = None
    prompt: str | None = None  # of /api/embeddings
    dimensions: int | None = None


class Show(Struct):
    model: str | None = None
    name: str | None = None
