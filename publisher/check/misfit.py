"""What really answers at an address that a provider's type, url or recipe does not fit.

By fingerprint, as ``publisher detect`` does it: nothing is loaded and nothing is generated.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from publisher.config.values import Provider
from publisher.find.detect import look_at
from publisher.find.found import Found, shown

ENDING = "/v1"
SHORTER = 5  # for a server that hung already
#: What a server needs before it loads and unloads by itself. Ollama always does.
FOR_NATIVE = {
    "vllm": "start it with --enable-sleep-mode, and with VLLM_SERVER_DEV_MODE=1 in its environment",
    "llamacpp": "start llama-server without a model (router mode), or use a process, http or command recipe",
    "lmstudio": "update LM Studio to 0.4 or later, or use a command recipe (lms load, lms unload)",
}


async def what_to_write_instead(provider: Provider, limit_s: float) -> str:
    """A remedy; empty when it is not known who is there, or when it is who was written."""
    found = await look_at(provider.url, provider.api_key, limit_s / SHORTER)
    return _remedy(provider, found) if found else ""


async def what_native_needs(provider: Provider, limit_s: float) -> str:
    """A remedy for a server that could not follow a native recipe; empty when it can, or nothing is known."""
    found = await look_at(provider.url, provider.api_key, limit_s / SHORTER)
    return FOR_NATIVE.get(provider.type, "") if found and found.type == provider.type and not found.native else ""


def _remedy(provider: Provider, found: Found) -> str:
    whole = urlsplit(provider.url).path.rstrip("/").endswith(ENDING)
    there = f"{shown(found.server, 40)} answers there: "
    if provider.type == "openai":
        if whole:
            return ""
        ending = f"let its url end in {ENDING}"
        return there + (ending if found.type == "openai" else f'set "type": "{found.type}", or {ending}')
    if found.type == provider.type:
        return ""
    more = f", and let its url end in {ENDING}" if found.type == "openai" and not whole else ""
    return f'{there}set "type": "{found.type}"{more}'
