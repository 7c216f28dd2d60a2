"""Ollama: its models by ``/api/tags``, those in memory by ``/api/ps``, loaded and unloaded by an empty request.

Ollama loads a model at the first request by itself, so one that is not in
memory is only asleep for whom its own recipe wakes it.
"""

from __future__ import annotations

import ipaddress
import os
import re

import msgspec

from publisher.backends.openai import OpenAIBackend
from publisher.backends.server import Reply
from publisher.failures import RecipeFailed, TaskFailed


class _Version(msgspec.Struct):
    version: str


class _Model(msgspec.Struct):
    name: str


class _Models(msgspec.Struct):
    models: list[_Model] | None


class OllamaBackend(OpenAIBackend):
    TYPE = "ollama"
    ENDINGS = ("/v1", "/api")

    async def available(self, model: str, resident: bool) -> bool:
        try:
            if not resident:
                await self._server.ask("api/version", _Version)
                return True
            return _tagged(model) in map(_tagged, await self._listed("api/ps"))
        except TaskFailed:
            return False

    async def models(self) -> list[str]:
        return await self._listed("api/tags")

    async def slots(self, model: str) -> int | None:
        """Ollama does not tell. When it runs here, it most likely got the same environment."""
        told = os.environ.get("OLLAMA_NUM_PARALLEL", "")
        return int(told) if _is_loopback(self._server.host) and re.fullmatch(r"[1-9]\d{0,3}", told) else None

    async def load(self, model: str, keep_alive: str | None) -> None:
        await self._empty_request(model, {} if keep_alive is None else {"keep_alive": _duration(keep_alive)})

    async def unload(self, model: str, level: int | None) -> None:
        await self._empty_request(model, {"keep_alive": 0})

    async def _empty_request(self, model: str, more: dict[str, object]) -> None:
        """It answers when the model is loaded, or told to go."""
        asked = {"model": model, "stream": False, **more}
        reply = await self._server.order("api/generate", asked)
        if reply.status == 400 and "does not support generate" in reply.complaint:  # it only embeds
            reply = await self._server.order("api/embed", {**asked, "input": ""})
        if not reply.ok:
            raise RecipeFailed(self._refusal(reply, model))

    def _refusal(self, reply: Reply, model: str) -> str:
        if reply.status == 404 and "not found" in reply.complaint:
            return f'ollama at {self.url} does not have the model "{model}": run `ollama pull {model}`'
        return f"ollama at {self.url} answered {reply.status}{self._server.said(reply)}"

    async def _listed(self, path: str) -> list[str]:
        return [model.name for model in (await self._server.ask(path, _Models)).models or ()]


def _tagged(model: str) -> str:
    """Ollama's full name of a model: no tag means ``latest``, and capitals mean nothing."""
    model = model.lower()
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def _duration(keep_alive: str) -> str | float:
    """A bare number is seconds, and Ollama takes it only as a number: "-1" as a string is an error."""
    try:
        return float(keep_alive)
    except ValueError:
        return keep_alive


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
