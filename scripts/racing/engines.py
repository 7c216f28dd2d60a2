"""Fake engines that count what must never happen to a real one: ``insulted``.

Asked while asleep or while falling asleep, or put to sleep in the middle of an
answer. They also know when they were put to sleep, so that others can aim at it.
"""

from __future__ import annotations

import time

from aiohttp import web

from tests.support.engines import VLLM, Model, Ollama


class RacingVLLM(VLLM):
    """One row. It sleeps from the first word of the order on, and is awake only when its wake has ended."""

    def __init__(self, model: str, load_s: float) -> None:
        super().__init__([model], load_s=load_s)
        self.slept: dict[str, int] = {model: 0}
        self.slept_at: dict[str, float] = {model: 0.0}
        self._model = self.models[model]

    def is_asleep(self, model: str) -> bool:
        return self.sleeping

    async def _sleep(self, request: web.Request) -> web.Response:
        self.insulted += self._model.running > 0
        self.slept[self._model.name] += 1
        self.slept_at[self._model.name] = time.monotonic()
        self.sleep(1)
        return await super()._sleep(request)


class RacingOllama(Ollama):
    """Many rows. A real one loads by itself when asked; here that tells that the publisher did not wait."""

    def __init__(self, models: list[str], load_s: float) -> None:
        super().__init__(models, load_s=load_s)
        self.insulted = 0
        self.slept = dict.fromkeys(models, 0)
        self.slept_at = dict.fromkeys(models, 0.0)

    def is_asleep(self, model: str) -> bool:
        return not self.models[model].loaded

    async def admit(self, name: object) -> Model | web.Response:
        model = self.find(name)
        self.insulted += model is not None and not model.loaded
        return await super().admit(name)

    def _unload(self, model: Model) -> None:
        if model.loaded:
            self.insulted += model.running > 0
            self.slept[model.name] += 1
            self.slept_at[model.name] = time.monotonic()
        super()._unload(model)
