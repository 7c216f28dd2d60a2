"""Every path that the broker answers: one table, also read by ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from broker.library import Personality, Project, Prompt
from broker.model import LLM, Agent, Secret, Session, ToolServer
from broker.pool import Pool
from broker.threads import Thread, Turn
from broker.wire import Registered, Registration, Result, ResultsAnswer

from . import (
    agents, background, batches, channel, document, files, health, llms, mcp, messages, ollama, ollama_models, openai,
    personalities, pools, projects, prompts, provider, public_llms, requests, responses, results, secrets, sessions,
    stored_responses, streams, task_events, tasks, threads, tool_servers, turns,
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
_T = "/api/v1/threads"
_N = f"{_T}/{{thread}}/turns/{{turn:[0-9]+}}"
_PJ = "/api/v1/projects"
_PS = "/api/v1/personalities"
_PT = "/api/v1/prompts"
_TS = "/api/v1/tool-servers"
_D = "/api/v1/tasks"

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
    Route("GET", _PJ, projects.list_projects, "", "Every project", gives=list[Project]),
    Route("POST", _PJ, projects.create_project, "client", "Make a project", projects.ProjectEdit, Project, 201),
    Route("GET", f"{_PJ}/{{project:[^/]+}}", projects.get_project, "", "One project, by name or id", gives=Project),
    Route("PUT", f"{_PJ}/{{project:[^/]+}}", projects.edit_project, "client", "Edit a project", projects.ProjectEdit, Project),
    Route("PATCH", f"{_PJ}/{{project:[^/]+}}", projects.edit_project, "client", "The same as PUT", projects.ProjectEdit, Project),
    Route("DELETE", f"{_PJ}/{{project:[^/]+}}", projects.delete_project, "client", "Delete a project and its prompts", status=204),
    Route("GET", _PS, personalities.list_personalities, "", "Every personality", gives=list[Personality]),
    Route("POST", _PS, personalities.create_personality, "client", "Make a personality", personalities.PersonalityEdit, Personality, 201),
    Route("GET", f"{_PS}/{{personality:[^/]+}}", personalities.get_personality, "", "One personality, by name or id", gives=Personality),
    Route("PUT", f"{_PS}/{{personality:[^/]+}}", personalities.edit_personality, "client", "Edit a personality", personalities.PersonalityEdit, Personality),
    Route("PATCH", f"{_PS}/{{personality:[^/]+}}", personalities.edit_personality, "client", "The same as PUT", personalities.PersonalityEdit, Personality),
    Route("DELETE", f"{_PS}/{{personality:[^/]+}}", personalities.delete_personality, "client", "Delete a personality", status=204),
    Route("GET", _PT, prompts.list_prompts, "", "Every prompt, or those of one project, agent, scope, name", gives=list[Prompt]),
    Route("POST", _PT, prompts.create_prompt, "client", "Make a prompt", prompts.PromptEdit, Prompt, 201),
    Route("GET", f"{_PT}/{{prompt:[^/]+}}", prompts.get_prompt, "", "One prompt, by id", gives=Prompt),
    Route("PUT", f"{_PT}/{{prompt:[^/]+}}", prompts.edit_prompt, "client", "Edit a prompt", prompts.PromptEdit, Prompt),
    Route("PATCH", f"{_PT}/{{prompt:[^/]+}}", prompts.edit_prompt, "client", "The same as PUT", prompts.PromptEdit, Prompt),
    Route("DELETE", f"{_PT}/{{prompt:[^/]+}}", prompts.delete_prompt, "client", "Delete a prompt", status=204),
    Route("GET", "/api/v1/sessions", sessions.list_sessions, "", "Publishers' sessions of the caller's owner", gives=list[Session]),
    Route("GET", "/api/v1/sessions/{session:[^/]+}", sessions.get_session, "", "One session", gives=Session),
    Route("GET", _TS, tool_servers.list_tool_servers, "", "Every tool server at a publisher", gives=list[ToolServer]),
    Route("GET", f"{_TS}/{{server:[^/]+}}", tool_servers.get_tool_server, "", "One tool server, by name or id", gives=ToolServer),
    Route("DELETE", f"{_TS}/{{server:[^/]+}}", tool_servers.delete_tool_server, "", "Delete a tool server, by name or id", status=204),
    Route("POST", f"{_A}/{{agent:[^/]+}}/threads", threads.create_thread, "client", "Begin a thread with an agent", threads.ThreadEdit, Thread, 201),
    Route("GET", f"{_A}/{{agent:[^/]+}}/threads", threads.list_threads_with, "client", "One's threads with an agent, latest first", gives=threads.ThreadPage),
    Route("GET", _T, threads.list_threads, "client", "One's threads, latest first", gives=threads.ThreadPage),
    Route("GET", f"{_T}/{{thread}}", threads.get_thread, "client", "One thread", gives=Thread),
    Route("PATCH", f"{_T}/{{thread}}", threads.edit_thread, "client", "Give a thread a title", threads.ThreadEdit, Thread),
    Route("DELETE", f"{_T}/{{thread}}", threads.delete_thread, "client", "Delete a thread with all that was said in it", status=204),
    Route("GET", f"{_T}/{{thread}}/messages", threads.list_messages, "client", "What was said, in order", gives=threads.MessagePage),
    Route("POST", f"{_T}/{{thread}}/turns", turns.begin_turn, "client", "Say something; the agent answers", turns.TurnAsked, Turn, streams=EVENTS),
    Route("GET", _N, turns.get_turn, "client", "One turn", gives=Turn),
    Route("DELETE", _N, turns.cancel_turn, "client", "Cancel a turn", status=204),
    Route("GET", f"{_N}/events", turns.follow_turn, "client", "What a turn says, from an event on", streams=EVENTS),
    Route("GET", "/api/v1/requests/{request}", requests.get_request, "client", "Where a request is"),
    Route("DELETE", "/api/v1/requests/{request}", requests.cancel_request, "client", "Cancel a request, wherever it is"),
    Route("GET", "/api/v1/requests/{request}/explain", requests.explain_request, "client", "Why a pool chose whom"),
    Route("GET", "/api/v1/pools", pools.list_pools, "admin", "Every pool", gives=list[Pool]),
    Route("POST", "/api/v1/pools", pools.create_pool, "admin", "Make a pool", pools.EditedPool, Pool, 201),
    Route("GET", "/api/v1/pools/{pool:[^/]+}", pools.get_pool, "admin", "One pool", gives=Pool),
    Route("PUT", "/api/v1/pools/{pool:[^/]+}", pools.edit_pool, "admin", "Edit a pool", pools.EditedPool, Pool),
    Route("PATCH", "/api/v1/pools/{pool:[^/]+}", pools.edit_pool, "admin", "The same as PUT", pools.EditedPool, Pool),
    Route("DELETE", "/api/v1/pools/{pool:[^/]+}", pools.delete_pool, "admin", "Delete a pool", status=204),
    Route("GET", "/api/v1/streams/{stream}", streams.resume, "client", "A kept stream again, from any event on", streams=EVENTS),
    Route("POST", _D, tasks.submit, "client", "Submit a durable task", tasks.Submitted, status=202),
    Route("GET", _D, tasks.list_tasks, "client", "Your durable tasks, newest first"),
    Route("DELETE", _D, tasks.purge, "client", "Forget your durable tasks in one state"),
    Route("GET", f"{_D}/{{task}}", tasks.get_task, "client", "One durable task"),
    Route("GET", f"{_D}/{{task}}/events", task_events.events, "client", "What happens to a durable task", streams=EVENTS),
    Route("GET", f"{_D}/{{task}}/result", tasks.result, "client", "The answer to a durable task", streams=EVENTS),
    Route("POST", f"{_D}/{{task}}/retry", tasks.retry, "client", "Try a durable task anew that failed or is dead"),
    Route("DELETE", f"{_D}/{{task}}", tasks.cancel, "client", "Cancel a durable task, wherever it is"),
    Route("GET", "/api/v1/secrets", secrets.list_secrets, "admin", "Every secret, without its value", gives=list[Secret]),
    Route("PUT", "/api/v1/secrets/{secret}", secrets.put_secret, "admin", "Keep a secret, sealed", secrets.SecretValue, Secret, 201),
    Route("DELETE", "/api/v1/secrets/{secret}", secrets.delete_secret, "admin", "Delete a secret", status=204),
    Route("POST", "/mcp", mcp.message, "client", "MCP: agents as tools", streams=EVENTS),
    Route("GET", "/v1/models", openai.list_models, "", "OpenAI: every model"),
    Route("GET", "/v1/models/{model:.+}", openai.get_model, "", "OpenAI: one model"),
    Route("POST", "/v1/chat/completions", openai.chat_completions, "client", "OpenAI: chat completion", streams=EVENTS),
    Route("POST", "/v1/completions", openai.completions, "client", "OpenAI: completion", streams=EVENTS),
    Route("POST", "/v1/embeddings", openai.embeddings, "client", "OpenAI: embeddings"),
    Route("POST", "/v1/responses", responses.create, "client", "OpenAI: a response", streams=EVENTS),
    Route("GET", "/v1/responses/{response}", stored_responses.get_response, "client", "OpenAI: a stored response", streams=EVENTS),
    Route("DELETE", "/v1/responses/{response}", stored_responses.delete_response, "client", "OpenAI: forget a response"),
    Route("POST", "/v1/responses/{response}/cancel", background.cancel_response, "client", "OpenAI: stop a response in the background"),
    Route("GET", "/v1/responses/{response}/input_items", stored_responses.input_items, "client", "OpenAI: what a response was asked"),
    Route("POST", "/v1/files", files.upload, "client", "OpenAI: keep a file, sent as a form"),
    Route("GET", "/v1/files", files.list_files, "client", "OpenAI: every file"),
    Route("GET", "/v1/files/{file}", files.get_file, "client", "OpenAI: one file"),
    Route("GET", "/v1/files/{file}/content", files.get_content, "client", "OpenAI: what is in a file"),
    Route("DELETE", "/v1/files/{file}", files.delete_file, "client", "OpenAI: delete a file"),
    Route("POST", "/v1/batches", batches.create, "client", "OpenAI: run a file of requests", batches.NewBatch),
    Route("GET", "/v1/batches", batches.list_batches, "client", "OpenAI: every batch"),
    Route("GET", "/v1/batches/{batch}", batches.get_batch, "client", "OpenAI: how far a batch is"),
    Route("POST", "/v1/batches/{batch}/cancel", batches.cancel, "client", "OpenAI: end a batch early"),
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
