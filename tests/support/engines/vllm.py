"""A fake vLLM: one model in memory from the start; its sleep mode when ``dev`` and ``sleep_mode`` are on.

A request while it sleeps is a fault of the caller: counted in ``insulted``,
answered 500. One after a level 2 sleep whose weights were not loaded again is
answered, and counted in ``nonsense``.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from tests.support.engines.engine import CREATED, Engine, Model

TAGS = ("weights", "kv_cache")


class VLLM(Engine):
    kind = "vllm"
    open_paths = ("/health", "/version", "/metrics", "/is_sleeping", "/sleep", "/wake_up", "/server_info",
                  "/collective_rpc", "/reset_prefix_cache")

    def __init__(self, *args: object, dev: bool = True, sleep_mode: bool = True, slots: int = 256, **more: object) -> None:
        super().__init__(*args, **more)
        self.dev = dev  # VLLM_SERVER_DEV_MODE=1
        self.sleep_mode = sleep_mode  # --enable-sleep-mode
        self.slots = slots
        self.level = 0  # of the sleep
        self.asleep: set[str] = set()
        self.weights_lost = False
        self.insulted = 0
        self.nonsense = 0

    @property
    def sleeping(self) -> bool:
        return bool(self.asleep)

    def sleep(self, level: int = 1) -> None:
        self.asleep = set(TAGS)
        self.level = level
        self.weights_lost = self.weights_lost or level == 2

    def idle(self) -> None:
        """It never sleeps by itself."""

    async def die(self) -> None:
        await super().die()
        self.asleep, self.level, self.weights_lost = set(), 0, False

    async def start(self) -> None:
        for model in self.models.values():
            model.loaded = True
        await super().start()

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/health", self._health)
        router.add_get("/version", self._version)
        router.add_get("/metrics", self._metrics)
        router.add_get("/v1/models", self._listed)
        if self.dev:
            router.add_get("/is_sleeping", self._is_sleeping)
            router.add_get("/server_info", self._server_info)
            router.add_post("/sleep", self._sleep)
            router.add_post("/wake_up", self._wake_up)
            router.add_post("/collective_rpc", self._rpc)
            router.add_post("/reset_prefix_cache", self._health)

    async def admit(self, name: object) -> Model | web.Response:
        model = self.find(name)
        if model is None:
            return self.refusal(404, f"The model `{name}` does not exist.", "NotFoundError")
        if self.sleeping:
            self.insulted += 1
            return self.refusal(500, "EngineCore encountered an issue", "InternalServerError")
        self.nonsense += self.weights_lost
        return model

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.29.0"})

    async def _metrics(self, request: web.Request) -> web.Response:
        state = "awake" if not self.sleeping else "discard_all" if self.level == 2 else "weights_offloaded"
        name = next(iter(self.models), "")
        lines = ["# HELP vllm:engine_sleep_state Engine sleep state.", "# TYPE vllm:engine_sleep_state gauge"]
        for one in ("awake", "weights_offloaded", "discard_all"):
            labels = f'engine="0",model_name="{name}",sleep_state="{one}"'
            lines.append(f"vllm:engine_sleep_state{{{labels}}} {float(one == state)}")
        return web.Response(text="\n".join(lines) + "\n")

    async def _listed(self, request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "vllm", "root": name, "parent": None,
                 "max_model_len": 4096, "permission": []} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _is_sleeping(self, request: web.Request) -> web.Response:
        return web.json_response({"is_sleeping": self.sleeping})

    async def _server_info(self, request: web.Request) -> web.Response:
        scheduler = {"max_num_seqs": self.slots, "max_num_batched_tokens": 8192}
        config: object = {"model_config": {"model": next(iter(self.models), "")}, "scheduler_config": scheduler}
        if request.query.get("config_format", "text") == "text":
            config = f"model='m', max_num_seqs={self.slots}"
        return web.json_response({"vllm_config": config, "vllm_env": {}, "system_env": {}})

    async def _sleep(self, request: web.Request) -> web.Response:
        if not self.sleep_mode:
            return web.Response(text="Internal Server Error", status=500)
        await asyncio.sleep(self.load_s)
        self.sleep(int(request.query.get("level", "1")))
        return web.Response()

    async def _wake_up(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.load_s)
        if self.hold is not None:
            await self.hold.wait()
        for model in self.models.values():
            model.loads += self.sleeping
        self.asleep -= set(request.query.getall("tags", TAGS))
        return web.Response()

    async def _rpc(self, request: web.Request) -> web.Response:
        if (await request.json()).get("method") != "reload_weights" or "weights" in self.asleep:
            return web.json_response({"error": "RuntimeError"}, status=500)
        self.weights_lost = False
        return web.json_response({"results": [None]})
