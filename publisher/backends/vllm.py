"""vLLM: up or not by ``/health`` and ``/is_sleeping``, woken and put to sleep by its sleep mode.

A sleeping vLLM still answers ``/health``, and breaks when it is sent a request:
it never counts as available. After a sleep of level 2 its weights are loaded
again, or it would answer nonsense. How many requests it runs at once it tells
only in development mode, which its sleep mode needs anyway.
"""

from __future__ import annotations

import msgspec

from publisher.backends.openai import OpenAIBackend
from publisher.failures import RecipeFailed, TaskFailed

DISCARDED = 2  # the level whose sleep throws the weights away


class _Sleeping(msgspec.Struct):
    is_sleeping: bool


class _Scheduler(msgspec.Struct):
    max_num_seqs: int


class _Config(msgspec.Struct):
    scheduler_config: _Scheduler


class _ServerInfo(msgspec.Struct):
    vllm_config: _Config


class VLLMBackend(OpenAIBackend):
    TYPE = "vllm"
    ENDINGS = ("/v1",)

    _weights_lost = False  # by a sleep that this publisher ordered, until they are loaded again

    async def available(self, model: str, resident: bool) -> bool:
        try:
            return await self._server.status("health") == 200 and not await self._sleeps()
        except TaskFailed:
            return False

    async def slots(self, model: str) -> int | None:
        try:
            told = await self._server.ask("server_info", _ServerInfo, config_format="json")
        except TaskFailed:
            return None
        return max(told.vllm_config.scheduler_config.max_num_seqs, 0) or None

    async def load(self, model: str, keep_alive: str | None) -> None:
        self._weights_lost = self._weights_lost or await self._says_weights_are_lost()
        if not self._weights_lost:
            await self._ordered("wake_up")
            return
        # Memory for the weights, the weights, and only then memory for the rest: the other way round it may not fit.
        await self._ordered("wake_up", tags="weights")
        await self._ordered("collective_rpc", {"method": "reload_weights"})
        await self._ordered("wake_up", tags="kv_cache")
        await self._ordered("reset_prefix_cache")
        self._weights_lost = False

    async def unload(self, model: str, level: int | None) -> None:
        self._weights_lost = self._weights_lost or level == DISCARDED
        await self._ordered("sleep", level=str(level or 1))

    async def _ordered(self, path: str, body: object = None, **query: str) -> None:
        reply = await self._server.order(path, body, **query)
        if reply.status == 404:
            raise RecipeFailed(
                f"vLLM at {self.url} has no /{path}: start it with --enable-sleep-mode, "
                "and with VLLM_SERVER_DEV_MODE=1 in its environment"
            )
        if not reply.ok:
            hint = " (was it started with --enable-sleep-mode?)" if reply.status >= 500 else ""
            raise RecipeFailed(f"vLLM at {self.url} answered {reply.status} to /{path}{self._server.said(reply)}{hint}")

    async def _sleeps(self) -> bool:
        """Without development mode there is no such question, and no sleep. What is no answer counts as asleep."""
        reply = await self._server.get("is_sleeping")
        if reply.status != 200:
            return reply.status >= 500
        try:
            return msgspec.json.decode(reply.body, type=_Sleeping).is_sleeping
        except (msgspec.MsgspecError, RecursionError):
            return True

    async def _says_weights_are_lost(self) -> bool:
        """For a sleep that was ordered before this publisher ran, or by somebody else."""
        try:
            reply = await self._server.get("metrics")
        except TaskFailed:
            return False
        lines = reply.body.decode(errors="replace").splitlines()
        states = (line for line in lines if line.startswith("vllm:engine_sleep_state{"))
        return any('sleep_state="discard_all"' in line and line.rpartition(" ")[2] in ("1", "1.0") for line in states)
