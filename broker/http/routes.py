"""Every path that the broker answers: one table, also read by ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from broker.model import LLM, Agent, Secret
from broker.wire import Registered, Registration, Result, ResultsAnswer

from . import (
    agents, channel, document, health, llms, messages, ollama, ollama_models, openai, provider, public_llms, results,
    secrets,
)
from .context import TABLE
from .middleware import PUBLIC


EVENTS, LINES = "text/event-stream", "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Route:
    """``role``: client, publisher, admin, '' for any token, ``public`` for none. ``streams``: the
    content type of its stream, '' if it has none."""

    method: str
    path: str
    handler: Callable
    role: str
    summary: str
    takes: type | None = None
    gives: object = None
    status: int = 200
    streams: str = ""


_P = "/api/v1/llms"
_A = "/api/v1/agents"

ROUTES = (
    Route("GET", "/healthz", health.healthz, PUBLIC, "Is the process alive"),
    Route("GET", "/readyz", health.readyz, PUBLIC, "Does it take requests"),
    Route("GET", "/openapi.json", document.openapi, PUBLIC, "This description"),
    Route("GET", "/metrics", health.metrics, "", "Counts, for Prometheus"),
    Route("POST", f"{_P}/_provider-register", provider.register, "publisher", "Publish LLMs and agents", Registration, Registered, 201),
    Route("POST", f"{_P}/_provider-heartbeat", provider.heartbeat, "publisher", "Keep a session's rows alive", provider.Named),
    Route("POST", f"{_P}/_provider-status", provider.status, "publisher", "Say that a backend is up or asleep", provider.StatusReport),
    Route("POST", f"{_P}/_provider-goodbye", provider.goodbye, "publisher", "Take a session's rows offline", provider.Named),
    Route("GET", f"{_P}/_provider-stream", channel.stream, "publisher", "The channel: frames for a publisher", streams=EVENTS),
    Route("POST", f"{_P}/_provider-results", results.results, "publisher", "Many result frames, one per line", gives=ResultsAnswer),
    Route("GET", f"{_P}/_provider-task/{{task}}/request", provider.task_request, "publisher", "A request that was too large for its frame"),
    Route("POST", f"{_P}/_provider-task/{{task}}/accept", results.accept, "publisher", "I have this task"),
    Route("POST", f"{_P}/_provider-task/{{task}}/result", results.result, "publisher", "One result frame", Result),
    Route("GET", _P, llms.list_llms, "", "Every LLM", gives=list[LLM]),
    Route("POST", _P, public_llms.create_llm, "admin", "Make a public LLM", public_llms.PublicLLM, LLM, 201),
    Route("PUT", f"{_P}/{{llm:[^/]+}}", public_llms.edit_llm, "admin", "Edit a public LLM", public_llms.PublicLLM, LLM),
    Route("PATCH", f"{_P}/{{llm:[^/]+}}", public_llms.edit_llm, "admin", "The same as PUT", public_llms.PublicLLM, LLM),
    Route("GET", f"{_P}/{{llm:[^/]+}}", llms.get_llm, "", "One LLM, by name or id", gives=LLM),
    Route("DELETE", f"{_P}/{{llm:[^/]+}}", llms.delete_llm, "", "Delete an LLM, by name or id", status=204),
    Route("POST", f"{_P}/{{llm:[^/]+}}/infer", llms.infer, "client", "Chat completion by an LLM, by its name", streams=EVENTS),
    Route("GET", _A, agents.list_agents, "", "Every agent", gives=list[Agent]),
    Route("POST", _A, agents.create_agent, "client", "Make a public agent", agents.PublicAgent, Agent, 201),
    Route("GET", f"{_A}/{{agent:[^/]+}}", agents.get_agent, "", "One agent, by name or id", gives=Agent),
    Route("PUT", f"{_A}/{{agent:[^/]+}}", agents.edit_agent, "client", "Edit a public agent", agents.PublicAgent, Agent),
    Route("PATCH", f"{_A}/{{agent:[^/]+}}", agents.edit_agent, "client", "The same as PUT", agents.PublicAgent, Agent),
    Route("DELETE", f"{_A}/{{agent:[^/]+}}", agents.delete_agent, "", "Delete an agent, by name or id", status=204),
    Route("DELETE", "/api/v1/requests/{request}", llms.cancel_request, "client", "Cancel a request, wherever it is"),
    Route("GET", "/api/v1/secrets", secrets.list_secrets, "admin", "Every secret, without its value", gives=list[Secret]),
    Route("PUT", "/api/v1/secrets/{secret}", secrets.put_secret, "admin", "Keep a secret, sealed", secrets.SecretValue, Secret, 201),
    Route("DELETE", "/api/v1/secrets/{secret}", secrets.delete_secret, "admin", "Delete a secret", status=204),
    Route("GET", "/v1/models", openai.list_models, "", "OpenAI: every model"),
    Route("GET", "/v1/models/{model:.+}", openai.get_model, "", "OpenAI: one model"),
    Route("POST", "/v1/chat/completions", openai.chat_completions, "client", "OpenAI: chat completion", streams=EVENTS),
    Route("POST", "/v1/completions", openai.completions, "client", "OpenAI: completion", streams=EVENTS),
    Route("POST", "/v1/embeddings", openai.embeddings, "client", "OpenAI: embeddings"),
    Route("POST", "/v1/messages", messages.messages, "client", "Anthropic: a message", streams=EVENTS),
    Route("POST", "/v1/messages/count_tokens", messages.count_tokens, "client", "Anthropic: about how many tokens"),
    Route("POST", "/api/chat", ollama.chat, "client", "Ollama: chat", streams=LINES),
    Route("POST", "/api/generate", ollama.generate, "client", "Ollama: an answer to a prompt", streams=LINES),
    Route("POST", "/api/embed", ollama.embed, "client", "Ollama: embeddings"),
    Route("POST", "/api/embeddings", ollama.embeddings, "client", "Ollama: one embedding"),
    Route("GET", "/api/tags", ollama_models.tags, "", "Ollama: every model"),
    Route("GET", "/api/ps", ollama_models.ps, "", "Ollama: models that are awake"),
    Route("POST", "/api/show", ollama_models.show, "", "Ollama: one model"),
    Route("GET", "/api/version", ollama_models.version, "", "Ollama: the version of its API"),
)


def add_to(app: web.Application) -> None:
    app[TABLE] = ROUTES
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.handler)


def roles() -> dict[object, str]:
    return {route.handler: route.role for route in ROUTES}


def last_words() -> frozenset:
    """Handlers of what publishers still have to say to a broker that shuts down."""
    return frozenset(route.handler for route in ROUTES if route.role == "publisher" and not route.streams)
