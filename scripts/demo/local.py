"""Looks for an LLM server on this machine, where such servers usually listen.

It asks for the list of models and nothing else: a generation would load one.
Several programs share a port, so the names are no more than a likely guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

USUAL = {11434: "Ollama", 8080: "llama.cpp", 8000: "vLLM", 1234: "LM Studio"}
MOST_EACH = 5


@dataclass(frozen=True)
class LocalModel:
    server: str
    url: str
    model: str

    @property
    def name(self) -> str:
        return self.model


async def models(ports: Mapping[int, str] = USUAL, timeout_s: float = 0.3) -> list[LocalModel]:
    """What could be published, in the order of the ports."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as http:
        found = await asyncio.gather(*(_ask(http, port, server) for port, server in ports.items()))
    return [model for some in found for model in some]


async def _ask(http: aiohttp.ClientSession, port: int, server: str) -> list[LocalModel]:
    url = f"http://127.0.0.1:{port}/v1"
    try:
        async with http.get(f"{url}/models") as response:
            listed = (await response.json(content_type=None))["data"] if response.status == 200 else []
        # Another Reveille on its usual port is no LLM server.
        names = [one["id"] for one in listed if one.get("owned_by") != "reveille"]
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, AttributeError):
        return []
    able = [name for name in names if isinstance(name, str) and "embed" not in name.lower()]
    return [LocalModel(server, url, name) for name in able[:MOST_EACH]]
