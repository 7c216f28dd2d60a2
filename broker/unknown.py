"""Refusals of what is asked for by a name or an id that nothing has: one class for each kind, each 404.

Each message says where those that there are can be seen.
"""

from __future__ import annotations

from broker.errors import NotFound


class UnknownLLM(NotFound):
    """There is no LLM of that name; `GET /v1/models` lists those that there are."""

    code = "model_not_found"


class UnknownPool(NotFound):
    """There is no pool of that name; `GET /api/v1/pools` lists those that there are."""

    code = "unknown_pool"


class UnknownAgent(NotFound):
    """There is no agent of that name; `GET /api/v1/agents` lists those that there are."""

    code = "unknown_agent"


class UnknownToolServer(NotFound):
    """There is no tool server of that name; `GET /api/v1/tool-servers` lists those that there are."""

    code = "unknown_tool_server"


class UnknownProject(NotFound):
    """There is no project of that name; `GET /api/v1/projects` lists those that there are."""

    code = "unknown_project"


class UnknownPersonality(NotFound):
    """There is no personality of that name; `GET /api/v1/personalities` lists those that there are."""

    code = "unknown_personality"


class UnknownPrompt(NotFound):
    """There is no such prompt; `GET /api/v1/prompts` lists those that there are."""

    code = "unknown_prompt"


class UnknownSession(NotFound):
    """There is no such session; register again."""

    code = "unknown_session"


class UnknownSecret(NotFound):
    """There is no such secret."""

    code = "unknown_secret"


class UnknownTask(NotFound):
    """This session has no such task; it may have ended."""

    code = "unknown_task"


class UnknownRequest(NotFound):
    """There is no such request; it may have ended."""

    code = "unknown_request"


class UnknownStream(NotFound):
    """There is no such stream; only streams that were asked for with `X-Resumable: true` are kept, and not for long."""

    code = "unknown_stream"


class UnknownJob(UnknownTask):
    """There is no such task; it was deleted, or its time is over."""
