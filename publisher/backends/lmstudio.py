"""LM Studio: its models and their loaded instances, loaded and unloaded by its REST API (0.4 and later).

A path that it does not have it answers with 200 and an error, so only the shape
of an answer counts. Before 0.4 its older API still tells what is loaded.
"""

from __future__ import annotations

import msgspec

from publisher.backends.openai import OpenAIBackend
from publisher.backends.server import Reply
from publisher.failures import BackendBroken, RecipeFailed, TaskFailed


class _LoadConfig(msgspec.Struct):
    parallel: int | None = None


class _Instance(msgspec.Struct):
    id: str
    config: _LoadConfig = msgspec.field(default_factory=_LoadConfig)


class _Model(msgspec.Struct):
    key: str
    loaded_instances: list[_Instance] = []
    selected_variant: str | None = None  # of a model that is there in several quantizations

    def goes_by(self, name: str) -> bool:
        return name in (self.key, self.selected_variant, *(instance.id for instance in self.loaded_instances))


class _Models(msgspec.Struct):
    models: list[_Model]


class _OldModel(msgspec.Struct):
    id: str
    state: str


class _OldModels(msgspec.Struct):
    data: list[_OldModel]


class LMStudioBackend(OpenAIBackend):
    TYPE = "lmstudio"
    ENDINGS = ("/api/v1", "/api/v0", "/v1")

    async def available(self, model: str, resident: bool) -> bool:
        try:
            models = await self._listed()
            return bool(_instances(models, model)) or not resident and await self._loads_by_itself(models)
        except TaskFailed:
            return False

    async def models(self) -> list[str]:
        return [model.key for model in await self._listed()]

    async def slots(self, model: str) -> int | None:
        """Told of a loaded model only, and by newer versions."""
        try:
            loaded = _instances(await self._listed(), model)
        except TaskFailed:
            return None
        told = next((instance.config.parallel for instance in loaded), None)
        return told if told and told > 0 else None

    async def load(self, model: str, keep_alive: str | None) -> None:
        if _instances(await self._for_recipe("load"), model):
            return  # another order would load a second copy of it
        self._expect(await self._server.order("api/v1/models/load", {"model": model}), f'load "{model}"')

    async def unload(self, model: str, level: int | None) -> None:
        for instance in _instances(await self._for_recipe("unload"), model):
            reply = await self._server.order("api/v1/models/unload", {"instance_id": instance.id})
            if reply.status != 404:  # 404: it went by itself in between
                self._expect(reply, f'unload "{model}"')

    async def _listed(self) -> list[_Model]:
        try:
            return (await self._server.ask("api/v1/models", _Models)).models
        except BackendBroken as newer:
            try:
                older = (await self._server.ask("api/v0/models", _OldModels)).data
            except BackendBroken:
                raise newer from None
        return [
            _Model(model.id, [_Instance(model.id)] if model.state == "loaded" else []) for model in older
        ]

    async def _loads_by_itself(self, models: list[_Model]) -> bool:
        """Told not to (no JIT loading), it lists to OpenAI's clients only what is loaded, and refuses the rest."""
        asleep = {model.key for model in models if not model.loaded_instances}
        return not asleep or not asleep.isdisjoint(await super().models())

    async def _for_recipe(self, to: str) -> list[_Model]:
        try:
            return (await self._server.ask("api/v1/models", _Models)).models
        except BackendBroken as err:
            if not await self._is_old():
                raise RecipeFailed(str(err)) from None
            raise RecipeFailed(
                f"LM Studio at {self.url} is older than 0.4 and cannot {to} a model over HTTP: "
                f"update it, or use a command recipe (lms {to})"
            ) from None
        except TaskFailed as err:
            raise RecipeFailed(str(err)) from None

    async def _is_old(self) -> bool:
        try:
            await self._server.ask("api/v0/models", _OldModels)
        except TaskFailed:
            return False
        return True

    def _expect(self, reply: Reply, to: str) -> None:
        if not reply.ok:
            raise RecipeFailed(f"LM Studio at {self.url} did not {to} ({reply.status}){self._server.said(reply)}")


def _instances(models: list[_Model], name: str) -> list[_Instance]:
    return next((model.loaded_instances for model in models if model.goes_by(name)), [])
