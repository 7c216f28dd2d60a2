"""Which types of backend there are, and where each listens unless told otherwise.

Light on purpose: the config's schema and the command line read it at every
start. A type's own code, and the HTTP client, are loaded when the first of it is made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from publisher.backends.seam import Backend
from publisher.config.values import ConfigError

if TYPE_CHECKING:
    import aiohttp

_CLASSES: dict[str, tuple[str, str]] = {
    "openai": ("publisher.backends.openai", "OpenAIBackend"),
    "ollama": ("publisher.backends.ollama", "OllamaBackend"),
    "vllm": ("publisher.backends.vllm", "VLLMBackend"),
    "llamacpp": ("publisher.backends.llamacpp", "LlamaCppBackend"),
    "lmstudio": ("publisher.backends.lmstudio", "LMStudioBackend"),
    "anthropic": ("publisher.backends.anthropic", "AnthropicBackend"),
}

TYPES: tuple[str, ...] = tuple(_CLASSES)

#: Where a server of that type is, unless the config says so; "openai" may be anything, anywhere.
DEFAULT_URLS: dict[str, str] = {
    "ollama": "http://127.0.0.1:11434",
    "vllm": "http://127.0.0.1:8000",
    "llamacpp": "http://127.0.0.1:8080",
    "lmstudio": "http://127.0.0.1:1234",
    "anthropic": "https://api.anthropic.com",
}


def backend_of(
    type_: str, http: aiohttp.ClientSession, url: str, api_key: str | None, check_timeout_s: float
) -> Backend:
    """Nothing is sent yet. Raises ``ConfigError`` for a type that is not known, or a url that is no address."""
    if type_ not in _CLASSES:
        raise ConfigError(f'type "{type_}" is not known; known are {", ".join(TYPES)}')
    module, name = _CLASSES[type_]
    return getattr(import_module(module), name)(http, url, api_key, check_timeout_s)
