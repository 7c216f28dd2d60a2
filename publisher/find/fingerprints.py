"""How each type of server is known: by what it answers, never by its port.

One function per type, asked in the order of ``ORDER``. Several servers answer
Ollama's calls too, LM Studio answers 200 to everything, and web pages answer
HTML to everything, so each looks at the shape of an answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from publisher.find.probe import Page, Probe

LM_STUDIO_SAYS = "Unexpected endpoint or method"


@dataclass(frozen=True, slots=True)
class Mark:
    """Who answers. ``type`` is the config file's word; empty for a Reveille broker, which is no backend."""

    type: str
    server: str
    needs_key: bool = False
    native: bool = False
    note: str = ""


async def reveille(probe: Probe) -> Mark | None:
    health = await probe.fields("/healthz")
    if health.get("status") != "ok" or not isinstance(health.get("version"), str):
        return None
    info = (await probe.fields("/openapi.json")).get("info")
    ours = isinstance(info, dict) and info.get("title") == "Reveille broker"
    return Mark("", _named("Reveille broker", health["version"])) if ours else None


async def ollama(probe: Probe) -> Mark | None:
    """Its list of models, and its version or its greeting: Open WebUI has a version at the same path."""
    version = (await probe.fields("/api/version")).get("version")
    if not isinstance((await probe.fields("/api/tags")).get("models"), list):
        return None
    root = await probe.page("/")
    greets = root is not None and "Ollama is running" in root.text
    if not greets and not isinstance(version, str):
        return None
    if not (greets and version) and (await koboldcpp(probe) or await sglang(probe) or await llamacpp(probe)):
        return None
    return Mark("ollama", _named("Ollama", version), native=True)


async def koboldcpp(probe: Probe) -> Mark | None:
    extra = await probe.fields("/api/extra/version")
    return Mark("openai", _named("KoboldCpp", extra.get("version"))) if extra.get("result") == "KoboldCpp" else None


async def lmstudio(probe: Probe) -> Mark | None:
    models = (await probe.fields("/api/v1/models")).get("models")
    if _objects(models) and all("key" in model and "loaded_instances" in model for model in models):
        if models or await _answers_everything(probe):
            return Mark("lmstudio", "LM Studio", native=True)
    older = (await probe.fields("/api/v0/models")).get("data")
    if _objects(older) and older and all("state" in model and "type" in model for model in older):
        return Mark("lmstudio", "LM Studio", note="before 0.4, it loads and unloads by its own rules")
    if await _answers_everything(probe):
        locked = await probe.page("/api/v1/models")
        return Mark("lmstudio", "LM Studio", needs_key=locked is not None and locked.status in (401, 403))
    return None


async def _answers_everything(probe: Probe) -> bool:
    page = await probe.page("/api/version")
    return page is not None and LM_STUDIO_SAYS in page.text


async def llamacpp(probe: Probe) -> Mark | None:
    page = await probe.page("/props")
    if page is None:
        return None
    props = page.fields
    if "default_generation_settings" in props or ("build_info" in props and "model_path" in props):
        router = props.get("role") == "router" or await _lists_states(probe)
        name = "llama.cpp router" if router else _llama_name(page)
        return Mark("llamacpp", _named(name, props.get("build_info")), native=router)
    if page.status == 503 and _error_text(page) == "Loading model":
        return Mark("llamacpp", _llama_name(page), note="is loading its model")
    if page.status in (401, 403) and ("llama" in page.server or "llamacpp" in await _owners(probe)):
        router = await _lists_states(probe)
        return Mark("llamacpp", "llama.cpp router" if router else _llama_name(page), needs_key=True, native=router)
    return None


async def _lists_states(probe: Probe) -> bool:
    models = (await probe.fields("/models")).get("data")
    return _objects(models) and any(isinstance(model.get("status"), dict) for model in models)


async def sglang(probe: Probe) -> Mark | None:
    for path in ("/model_info", "/get_model_info"):  # the second until the end of 2025
        info = await probe.fields(path)
        if "model_path" in info and "is_generation" in info:
            return Mark("openai", "SGLang")
    return None


async def vllm(probe: Probe) -> Mark | None:
    version = (await probe.fields("/version")).get("version")
    if not isinstance(version, str):
        return None
    models = await probe.page("/v1/models")
    locked = models is not None and models.status == 401
    if "vllm" not in await _owners(probe):
        metrics = await probe.page("/metrics") if locked else None
        if metrics is None or "vllm:" not in metrics.text:
            return None
    sleeps = (await probe.fields("/is_sleeping")).get("is_sleeping")
    note = "sleeps now" if sleeps is True else ""
    return Mark("vllm", _named("vLLM", version), needs_key=locked, native=isinstance(sleeps, bool), note=note)


async def tgi(probe: Probe) -> Mark | None:
    info = await probe.fields("/info")
    if "model_id" not in info or "max_concurrent_requests" not in info:
        return None
    embeds = "model_type" in info
    return Mark("openai", _named("Text Embeddings Inference" if embeds else "TGI", info.get("version")))


async def llama_swap(probe: Probe) -> Mark | None:
    running = (await probe.fields("/running")).get("running")
    if not _objects(running):
        return None
    version = (await probe.fields("/api/version")).get("version")
    return Mark("openai", _named("llama-swap", version), note="loads and unloads models by itself")


async def generic(probe: Probe) -> Mark | None:
    """Whatever speaks OpenAI's HTTP API."""
    page = await probe.page("/v1/models")
    name = "OpenAI-compatible server"
    if page is not None and _objects(page.fields.get("data")):
        return Mark("openai", name)
    refusal = page.json if page is not None and page.status in (401, 403) else None
    if isinstance(refusal, dict) and {"error", "detail"} & set(refusal):
        return Mark("openai", name, needs_key=True, note="wants a key before it says what it is")
    health = await probe.page("/health") if page is None or page.status >= 500 else None
    if health is not None and health.status == 200 and not health.html:
        return Mark("openai", name)
    return None


Fingerprint = Callable[[Probe], Awaitable[Mark | None]]
ORDER: tuple[Fingerprint, ...] = (
    reveille, ollama, lmstudio, llamacpp, sglang, vllm, tgi, llama_swap, koboldcpp, generic
)


async def mark_of(probe: Probe) -> Mark | None:
    for fingerprint in ORDER:
        mark = await fingerprint(probe)
        if mark or probe.refused:
            return mark
    return None


def _objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


async def _owners(probe: Probe) -> set[object]:
    models = (await probe.fields("/v1/models")).get("data")
    return {str(model.get("owned_by")) for model in models} if _objects(models) else set()


def _error_text(page: Page) -> object:
    error = page.json.get("error") if isinstance(page.json, dict) else None
    return error.get("message") if isinstance(error, dict) else None


def _llama_name(page: Page) -> str:
    return "llamafile" if "llamafile" in page.server else "llama.cpp"


def _named(name: str, version: object) -> str:
    return f"{name} {version}" if isinstance(version, str) and version else name
