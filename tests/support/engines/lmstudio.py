"""A fake LM Studio: loads just in time and by its REST API, each load another instance.

What it does not know it answers with 200 and an error in the body, as the real
one does. ``old``: before 0.4, without ``/api/v1``. ``variants``: for a model the
name of the quantization that is selected.
"""

from __future__ import annotations

from aiohttp import web

from tests.support.engines.engine import Engine, LoadFailed, Model


class LMStudio(Engine):
    kind = "lmstudio"

    def __init__(
        self, *args: object, jit: bool = True, old: bool = False, parallel: int | None = 4,
        variants: dict[str, str] | None = None, **more: object,
    ) -> None:
        super().__init__(*args, **more)
        self.jit = jit
        self.old = old
        self.parallel = parallel
        self.variants = variants or {}

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v1/models", self._listed)
        router.add_get("/api/v0/models", self._listed_v0)
        if not self.old:
            router.add_get("/api/v1/models", self._listed_v1)
            router.add_post("/api/v1/models/load", self._asked_load)
            router.add_post("/api/v1/models/unload", self._asked_unload)

    async def unknown(self, request: web.Request) -> web.Response:
        return web.json_response({"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})

    def find(self, name: object) -> Model | None:
        by_instance = (model for model in self.models.values() if name in model.instances)
        by_variant = (self.models[key] for key, variant in self.variants.items() if name == variant)
        return super().find(name) or next(by_instance, None) or next(by_variant, None)

    async def admit(self, name: object) -> Model | web.Response:
        model = self.find(name)
        if model is None or not (model.loaded or self.jit):
            return self.refusal(404, f'No models loaded. Please load "{name}" first', "model_not_found")
        try:
            await self._start(model)
        except LoadFailed:
            return self.refusal(400, f"Failed to load model {name!r}", "model_load_failed")
        return model

    async def _start(self, model: Model) -> str:
        await self._load(model)
        if not model.instances:
            model.instances.append(model.name)
        return model.instances[-1]

    async def _listed(self, request: web.Request) -> web.Response:
        here = [model for model in self.models.values() if self.jit or model.loaded]
        data = [{"id": model.name, "object": "model", "owned_by": "organization_owner"} for model in here]
        return web.json_response({"object": "list", "data": data})

    async def _listed_v0(self, request: web.Request) -> web.Response:
        data = [{"id": model.name, "object": "model", "type": "embeddings" if model.embedding else "llm",
                 "publisher": "acme", "arch": "llama", "compatibility_type": "gguf", "quantization": "Q4_K_M",
                 "state": "loaded" if model.loaded else "not-loaded", "max_context_length": 131072}
                for model in self.models.values()]
        return web.json_response({"object": "list", "data": data})

    async def _listed_v1(self, request: web.Request) -> web.Response:
        return web.json_response({"models": [self._about(model) for model in self.models.values()]})

    def _about(self, model: Model) -> dict:
        config: dict = {"context_length": 4096}
        if self.parallel is not None and not model.embedding:
            config["parallel"] = self.parallel
        variant = self.variants.get(model.name)
        several = {"variants": [variant], "selected_variant": variant} if variant else {}
        return {**several, "type": "embedding" if model.embedding else "llm", "publisher": "acme", "key": model.name,
                "display_name": model.name.title(), "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
                "size_bytes": 4_000_000, "params_string": "8B", "max_context_length": 131072, "format": "gguf",
                "loaded_instances": [{"id": one, "config": config} for one in model.instances]}

    async def _asked_load(self, request: web.Request) -> web.Response:
        name = (await request.json()).get("model")
        model = self.find(name)
        if model is None:
            return self.refusal(404, f'Model "{name}" not found', "model_not_found")
        another = bool(model.instances)
        try:
            instance = await self._start(model)
        except LoadFailed:
            return self.refusal(500, "Failed to load model: out of memory", "model_load_failed")
        if another:
            instance = f"{model.name}:{len(model.instances) + 1}"
            model.instances.append(instance)
        told = {"type": "llm", "instance_id": instance, "load_time_seconds": self.load_s, "status": "loaded"}
        return web.json_response(told)

    async def _asked_unload(self, request: web.Request) -> web.Response:
        instance = (await request.json()).get("instance_id")
        model = next((model for model in self.models.values() if instance in model.instances), None)
        if model is None:
            return self.refusal(404, f'Cannot find model instance "{instance}"', "model_not_found")
        model.instances.remove(instance)
        if not model.instances:
            self._unload(model)
        return web.json_response({"instance_id": instance})
