"""llama.cpp's ``llama-server``, with one model, or as a router that loads and unloads many.

A model that sleeps (``--sleep-idle-seconds``) wakes at its next request, and a
router loads by itself, so for a recipe of another kind both count as available.
No question asked here loads a model.
"""

from __future__ import annotations

import asyncio

import msgspec

from publisher.backends.openai import OpenAIBackend
from publisher.failures import BackendBroken, RecipeFailed, TaskFailed

POLL_S = 0.25
IN_MEMORY = "loaded"
RUNNING = (IN_MEMORY, "sleeping")


class _Health(msgspec.Struct):
    status: str


class _Props(msgspec.Struct):
    role: str = ""
    models_autoload: bool = True
    total_slots: int | None = None
    is_sleeping: bool = False

    @property
    def router(self) -> bool:
        return self.role == "router"


class _Status(msgspec.Struct):
    value: str = ""
    failed: bool = False
    exit_code: int | None = None


class _Model(msgspec.Struct):
    id: str
    aliases: list[str] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Models(msgspec.Struct):
    data: list[_Model]


class LlamaCppBackend(OpenAIBackend):
    TYPE = "llamacpp"
    ENDINGS = ("/v1",)

    async def available(self, model: str, resident: bool) -> bool:
        try:
            await self._server.ask("health", _Health)  # 503 while it loads
            if resident:
                return await self._in_memory(model)
            return await self._would_load(model)
        except TaskFailed:
            return False

    async def slots(self, model: str) -> int | None:
        try:
            props = await self._props()
            # Only a running one is asked: an early router would load the model to answer.
            if props.router and (await self._status(model)).value in RUNNING:
                props = await self._server.ask("props", _Props, model=model, autoload="false")
        except TaskFailed:
            return None
        return props.total_slots if props.total_slots and props.total_slots > 0 else None

    async def load(self, model: str, keep_alive: str | None) -> None:
        try:
            await self._need_router("load")
            if (await self._status(model)).value == "sleeping":
                # Any request but a question wakes it; this one generates nothing.
                await self._ordered("tokenize", {"model": model, "content": "a"})
            else:
                await self._ordered("models/load", {"model": model}, fine="already running")
            await self._until_loaded(model)
        except TaskFailed as err:
            raise RecipeFailed(str(err)) from None

    async def unload(self, model: str, level: int | None) -> None:
        try:
            await self._need_router("unload")
        except TaskFailed as err:
            raise RecipeFailed(str(err)) from None
        await self._ordered("models/unload", {"model": model}, fine="not running")

    async def _in_memory(self, model: str) -> bool:
        props = await self._props()
        if props.router:
            return (await self._status(model)).value == IN_MEMORY
        return not props.is_sleeping

    async def _would_load(self, model: str) -> bool:
        """A router that was told not to load by itself refuses requests for what is not loaded."""
        try:
            props = await self._props()
        except BackendBroken:
            return True  # an old server, or one of its kin, without that question
        return not props.router or props.models_autoload or (await self._status(model)).value in RUNNING

    async def _props(self) -> _Props:
        return await self._server.ask("props", _Props)

    async def _status(self, model: str) -> _Status:
        listed = (await self._server.ask("models", _Models)).data
        for one in listed:
            if model == one.id or model in one.aliases:
                return one.status
        raise BackendBroken(f'llama-server at {self.url} has no model "{model}"; it has {_named(listed)}')

    async def _until_loaded(self, model: str) -> None:
        """The router takes the order and loads in another process; a load that fails shows in the list only."""
        while (status := await self._status(model)).value not in RUNNING:
            if status.failed:
                code = "" if status.exit_code is None else f" (exit code {status.exit_code})"
                raise RecipeFailed(f'the model "{model}" failed to load{code}: see the output of llama-server')
            if status.value == "unloaded":
                raise RecipeFailed(f'the model "{model}" was unloaded again while it loaded')
            await asyncio.sleep(POLL_S)

    async def _need_router(self, to: str) -> None:
        if not (await self._props()).router:
            raise RecipeFailed(
                f"llama-server at {self.url} serves one model and cannot {to} it: "
                "start it without a model (router mode), or use a process, http or command recipe"
            )

    async def _ordered(self, path: str, body: object, fine: str = "\0") -> None:
        reply = await self._server.order(path, body)
        if not reply.ok and fine not in reply.complaint:
            raise RecipeFailed(f"llama-server at {self.url} answered {reply.status} to /{path}{self._server.said(reply)}")


def _named(models: list[_Model]) -> str:
    names = [f'"{model.id}"' for model in models[:5]]
    more = f" and {len(models) - 5} more" if len(models) > 5 else ""
    return ", ".join(names) + more if names else "none"
