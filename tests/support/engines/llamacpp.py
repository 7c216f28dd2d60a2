"""Two fake llama-servers: with one model, and as a router that loads and unloads many."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from tests.support.engines.engine import CREATED, Engine, LoadFailed, Model

BUILD = "b11277-eae11d221"


class _LlamaServer(Engine):
    open_paths = ("/health", "/v1/health", "/models", "/v1/models")

    def __init__(self, *args: object, slots: int = 4, **more: object) -> None:
        super().__init__(*args, **more)
        self.slots = slots
        self._background: set[asyncio.Task[None]] = set()

    async def die(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await super().die()

    async def unknown(self, request: web.Request) -> web.Response:
        return self.refusal(404, "File Not Found", "not_found_error")

    def _soon(self, model: Model) -> None:
        async def load() -> None:
            with contextlib.suppress(LoadFailed):
                await self._load(model)

        task = asyncio.create_task(load())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _props(self, model: Model, sleeping: bool) -> web.Response:
        return web.json_response({
            "default_generation_settings": {"params": {"temperature": 0.8}, "n_ctx": 4096},
            "total_slots": self.slots, "model_alias": model.name, "model_path": f"/models/{model.name}.gguf",
            "modalities": {"vision": False, "audio": False}, "chat_template": "{{ messages }}",
            "build_info": BUILD, "is_sleeping": sleeping,
        })


class LlamaCpp(_LlamaServer):
    """One model, loaded at the start (503 until then). Idle, it sleeps; the next request wakes it."""

    kind = "llamacpp"

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)
        self.sleeping = False

    @property
    def model(self) -> Model:
        return next(iter(self.models.values()))

    async def start(self) -> None:
        self.sleeping = False
        self.model.loaded = not self.load_s and self.hold is None and self.model.name not in self.load_fails
        await super().start()
        if not self.model.loaded:
            self._soon(self.model)

    def idle(self) -> None:
        self.model.loaded = False
        self.sleeping = True

    def routes(self, router: web.UrlDispatcher) -> None:
        for path, handler in (
            ("/health", self._health), ("/v1/health", self._health), ("/props", self._asked_props),
            ("/models", self._listed), ("/v1/models", self._listed),
        ):
            router.add_get(path, self._once_started(handler))

    async def admit(self, name: object) -> Model | web.Response:
        if not self.model.loaded and not self.sleeping:
            return self._still_loads()
        await self._load(self.model)
        self.sleeping = False
        return self.model

    def _once_started(self, handler):
        async def answer(request: web.Request) -> web.Response:
            return await handler(request) if self.model.loaded or self.sleeping else self._still_loads()

        return answer

    def _still_loads(self) -> web.Response:
        return self.refusal(503, "Loading model", "unavailable_error")

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _asked_props(self, request: web.Request) -> web.Response:
        return self._props(self.model, self.sleeping)

    async def _listed(self, request: web.Request) -> web.Response:
        name = self.model.name
        meta = {"vocab_type": 2, "n_vocab": 128256, "n_ctx_train": 131072, "n_embd": 4096, "n_params": 8030261312}
        data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "llamacpp", "aliases": [], "meta": meta}]
        return web.json_response({"models": [{"name": name, "model": name}], "object": "list", "data": data})


class LlamaCppRouter(_LlamaServer):
    """Many models, each a process of its own, at most ``models_max`` at once; one that is idle sleeps."""

    kind = "llamacpp-router"

    def __init__(self, *args: object, models_max: int = 4, autoload: bool = True, **more: object) -> None:
        super().__init__(*args, **more)
        self.models_max = models_max
        self.autoload = autoload
        self.asleep: set[str] = set()
        self.aliases: dict[str, str] = {}

    def find(self, name: object) -> Model | None:
        return super().find(self.aliases.get(name, name) if isinstance(name, str) else name)

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/health", self._health)
        router.add_get("/v1/health", self._health)
        router.add_get("/props", self._asked_props)
        router.add_get("/models", self._listed)
        router.add_get("/v1/models", self._listed)
        router.add_post("/models/load", self._asked_load)
        router.add_post("/models/unload", self._asked_unload)
        router.add_post("/tokenize", self._tokenize)

    def idle(self) -> None:
        self.asleep |= set(self.loaded)

    async def admit(self, name: object) -> Model | web.Response:
        model = self.find(name)
        if model is None:
            return self.refusal(400, f"model '{name}' not found")
        if not model.loaded and not self.autoload:
            return self.refusal(400, "model is not loaded")
        self._make_room(model)
        try:
            await self._load(model)
        except LoadFailed:
            return self.refusal(500, f"model name={model.name} failed to load", "server_error")
        self.asleep.discard(model.name)
        return model

    async def _tokenize(self, request: web.Request) -> web.Response:
        admitted = await self.admit((await request.json()).get("model"))
        return admitted if isinstance(admitted, web.Response) else web.json_response({"tokens": [64]})

    def _make_room(self, wanted: Model) -> None:
        others = [model for model in self.models.values() if model.loaded and model is not wanted]
        if len(others) >= self.models_max:
            self._unload(min(others, key=lambda model: model.used))

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _asked_props(self, request: web.Request) -> web.Response:
        if "model" not in request.query:
            return web.json_response({
                "role": "router", "max_instances": self.models_max, "models_autoload": self.autoload,
                "model_alias": "llama-server", "model_path": "none",
                "default_generation_settings": {"params": None, "n_ctx": 0}, "build_info": BUILD,
            })
        model = self.find(request.query["model"])
        if model is None:
            return self.refusal(400, f"model '{request.query['model']}' not found")
        if not model.loaded:
            if request.query.get("autoload", str(self.autoload).lower()) not in ("true", "1"):
                return self.refusal(400, "model is not loaded")
            await self._load(model)
        return self._props(model, model.name in self.asleep)

    async def _listed(self, request: web.Request) -> web.Response:
        data = [{"id": model.name, "aliases": [alias for alias, of in self.aliases.items() if of == model.name],
                 "tags": [], "object": "model", "owned_by": "llamacpp", "created": CREATED, "status": self._status(model),
                 "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]}, "source": "cache"}
                for model in self.models.values()]
        return web.json_response({"object": "list", "data": data})

    def _status(self, model: Model) -> dict:
        if model.loading:
            return {"value": "loading", "args": ["llama-server"]}
        if model.loaded:
            return {"value": "sleeping" if model.name in self.asleep else "loaded", "args": ["llama-server"]}
        if model.exit_code:
            return {"value": "unloaded", "args": ["llama-server"], "failed": True, "exit_code": model.exit_code}
        return {"value": "unloaded"}

    async def _asked_load(self, request: web.Request) -> web.Response:
        model = self.find((await request.json()).get("model"))
        if model is None:
            return self.refusal(404, "model is not found", "not_found_error")
        if model.loaded or model.loading:
            return self.refusal(400, "model is already running")
        self._make_room(model)
        self._soon(model)
        model.loading = True
        return web.json_response({"success": True})

    async def _asked_unload(self, request: web.Request) -> web.Response:
        model = self.find((await request.json()).get("model"))
        if model is None:
            return self.refusal(400, "model is not found")
        if not model.loaded and not model.loading:
            return self.refusal(400, "model is not running")
        self.asleep.discard(model.name)
        self._unload(model)
        return web.json_response({"success": True})
