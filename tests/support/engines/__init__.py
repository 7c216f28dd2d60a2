"""Fake LLM servers, one for each that the publisher knows by name.

``async with Ollama(models=["a"]) as engine: engine.url``, or as a process:
``python -m tests.support.engines ollama --port N --models a,b --load-seconds 0.2``.
Their native answers have the true shapes; what they say to requests is
``tests.support.backend``'s.
"""

from __future__ import annotations

from tests.support.engines.engine import Engine, Model, Seen
from tests.support.engines.llamacpp import LlamaCpp, LlamaCppRouter
from tests.support.engines.lmstudio import LMStudio
from tests.support.engines.ollama import Ollama
from tests.support.engines.vllm import VLLM

KINDS: dict[str, type[Engine]] = {
    "ollama": Ollama,
    "vllm": VLLM,
    "llamacpp": LlamaCpp,
    "llamacpp-router": LlamaCppRouter,
    "lmstudio": LMStudio,
}

__all__ = ["KINDS", "Engine", "LMStudio", "LlamaCpp", "LlamaCppRouter", "Model", "Ollama", "Seen", "VLLM"]
