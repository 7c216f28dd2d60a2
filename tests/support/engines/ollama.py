"""A fake Ollama: loads on request and by ``/api/generate``, unloads when idle or by ``keep_alive: 0``."""

from __future__ import annotations

import re

from aiohttp import web

from tests.support.engines.engine import CREATED, Engine, LoadFailed, Model

NEVER = "2318-03-08T12:00:00.000000000Z"
DURATION = re.compile(r"-?(\d+(\.\d+)?(ns|us|ms|s|m|h))+|0")


class Ollama(Engine):
    kind = "ollama"

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/", self._root)
        router.add_get("/api/version", self._version)
        router.add_get("/api/tags", self._tags)
        router.add_get("/api/ps", self._ps)
        router.add_post("/api/generate", self._generate)
        router.add_post("/api/embed", self._embed)
        router.add_get("/v1/models", self._listed)

    def find(self, name: object) -> Model | None:
        wanted = tagged(name) if isinstance(name, str) else ""
        return next((model for model in self.models.values() if tagged(model.name) == wanted), None)

    async def admit(self, name: object) -> Model | web.Response:
        model = self.find(name)
        if model is None:
            return self.refusal(404, f"model '{name}' not found", "not_found_error")
        try:
            await self._load(model)
        except LoadFailed:
            return self.refusal(500, "llama runner process has terminated", "api_error")
        return model

    async def unknown(self, request: web.Request) -> web.Response:
        return web.Response(text="404 page not found", status=404)

    async def _root(self, request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.35.1"})

    async def _tags(self, request: web.Request) -> web.Response:
        models = [{**_about(model), "modified_at": "2026-10-01T10:00:00Z"} for model in self.models.values()]
        return web.json_response({"models": models})

    async def _ps(self, request: web.Request) -> web.Response:
        here = [model for model in self.models.values() if model.loaded]
        more = {"expires_at": NEVER, "size_vram": 4_000_000, "context_length": 4096}
        return web.json_response({"models": [{**_about(model), **more} for model in here]})

    async def _listed(self, request: web.Request) -> web.Response:
        data = [{"id": tagged(name), "object": "model", "created": CREATED, "owned_by": "library"} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _generate(self, request: web.Request) -> web.Response:
        asked = await request.json()
        refusal, model = self._wanted(asked)
        if refusal is not None:
            return refusal
        if not asked.get("prompt") and _is_zero(asked.get("keep_alive")):
            self._unload(model)
            return web.json_response(_done(asked["model"], "unload"))
        if model.embedding:
            return web.json_response({"error": f'"{asked["model"]}" does not support generate'}, status=400)
        return await self._loaded(model, _done(asked["model"], "load"))

    async def _embed(self, request: web.Request) -> web.Response:
        asked = await request.json()
        refusal, model = self._wanted(asked)
        if refusal is not None:
            return refusal
        return await self._loaded(model, {"model": asked["model"], "embeddings": []})

    def _wanted(self, asked: dict) -> tuple[web.Response | None, Model]:
        keep = asked.get("keep_alive")
        if isinstance(keep, str) and not DURATION.fullmatch(keep):
            message = f'time: missing unit in duration "{keep}"'
            return web.json_response({"error": message}, status=400), Model("")
        model = self.find(asked.get("model"))
        if model is None:
            return web.json_response({"error": f"model '{asked.get('model')}' not found"}, status=404), Model("")
        return None, model

    async def _loaded(self, model: Model, answer: dict) -> web.Response:
        try:
            await self._load(model)
        except LoadFailed:
            message = "llama runner process has terminated: cudaMalloc failed: out of memory"
            return web.json_response({"error": message}, status=500)
        return web.json_response(answer)


def tagged(name: str) -> str:
    name = name.lower()
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _is_zero(keep_alive: object) -> bool:
    return keep_alive is not None and str(keep_alive) in ("0", "0s", "0m", "0.0")


def _about(model: Model) -> dict:
    family = "nomic-bert" if model.embedding else "llama"
    details = {"parent_model": "", "format": "gguf", "family": family, "families": [family],
               "parameter_size": "8.0B", "quantization_level": "Q4_K_M"}
    return {"name": tagged(model.name), "model": tagged(model.name), "size": 4_000_000, "digest": "0" * 64, "details": details}


def _done(model: str, why: str) -> dict:
    return {"model": model, "created_at": "2026-10-01T10:00:00Z", "response": "", "done": True, "done_reason": why}
