"""The publisher's calls: register, heartbeat, status, goodbye, and large requests.

The channel is in ``channel.py``, results in ``results.py``. A session is named
in the body or in ``X-Provider-Session`` and must be the caller's own.
"""

from __future__ import annotations

import re
import secrets
import uuid

import msgspec
from aiohttp import web

from broker.errors import BadRequest, Unprocessable
from broker.unknown import UnknownLLM, UnknownSession
from broker.wire import (
    PROTOCOL, SESSION_HEADER, TOOLS, AgentEntry, ProviderEntry, Registered, Registration, ToolServerEntry,
)

from .bodies import decode, read_body, reply
from .context import LIMITS, PRINCIPAL, STORE
from .names import check_aliases, check_name

_CONTROL_BYTES = 1 << 20
_ROWS = 200
_MODEL = 128
_SESSION = re.compile(r"[A-Za-z0-9_.-]{8,128}")
_OPERATION = re.compile(r"[a-z_]{1,32}")
_OPERATIONS = 16


class Named(msgspec.Struct, rename="camel"):
    """The body of a call that may name its session."""

    provider_session_id: str | None = None


class StatusReport(msgspec.Struct, rename="camel"):
    """The body of ``_provider-status``."""

    llm_name: str
    status: str
    provider_session_id: str | None = None


async def register(request: web.Request) -> web.Response:
    asked = decode(await _control_body(request), Registration)
    sid = asked.provider_session_id or request.headers.get(SESSION_HEADER) or f"ps_{secrets.token_urlsafe(18)}"
    if not _SESSION.fullmatch(sid):
        raise Unprocessable("providerSessionId has 8 to 128 of: letters, digits, `_`, `.`, `-`.", param="providerSessionId")
    if len(asked.providers) + len(asked.agents) + len(asked.tool_servers) > _ROWS:
        raise Unprocessable(f"One session publishes at most {_ROWS} rows.", param="providers")
    if not (asked.providers or asked.agents or asked.tool_servers or asked.replace):
        raise Unprocessable("There is nothing to register: `providers` is empty.", param="providers")
    llms = [_llm(i, entry) for i, entry in enumerate(asked.providers)]
    agents = [_agent(i, entry) for i, entry in enumerate(asked.agents)]
    tools = [_tool_server(i, entry) for i, entry in enumerate(asked.tool_servers)]
    _refuse_twins("providers", [entry["name"] for entry in llms])
    _refuse_twins("agents", [entry["name"] for entry in agents])
    _refuse_twins("toolServers", [entry.name for entry in asked.tool_servers])
    store = request.app[STORE]
    await store.sessions.register(
        sid, request[PRINCIPAL].owner, llms=[*llms, *tools], agents=agents, replace=asked.replace, accepts=asked.accepts
    )
    return reply(
        Registered(
            provider_session_id=sid,
            heartbeat_seconds=request.app[LIMITS].heartbeat_s,
            protocol=PROTOCOL,
            llms=[msgspec.to_builtins(row) for row in await store.rows.llms_named([e["name"] for e in llms])],
            agents=[msgspec.to_builtins(row) for row in await store.agents.named([e["name"] for e in agents])],
            tool_servers=[msgspec.to_builtins(row) for row in await store.tool_servers.named([e.name for e in asked.tool_servers])],
        ),
        201,
    )


async def heartbeat(request: web.Request) -> web.Response:
    body = await _control_body(request)
    sid = session_named(request, decode(body, Named).provider_session_id if body else None)
    await request.app[STORE].sessions.heartbeat(sid, request[PRINCIPAL].owner)
    return reply({"ok": True})


async def goodbye(request: web.Request) -> web.Response:
    body = await _control_body(request)
    sid = session_named(request, decode(body, Named).provider_session_id if body else None)
    await request.app[STORE].sessions.goodbye(sid, request[PRINCIPAL].owner)
    return reply({"ok": True})


async def status(request: web.Request) -> web.Response:
    report = decode(await _control_body(request), StatusReport)
    if report.status not in ("active", "draining", "hibernating"):
        raise Unprocessable("`status` is `active`, `draining` or `hibernating`.", param="status")
    if report.llm_name.startswith(TOOLS):
        raise UnknownLLM("A tool server is always active: it is started by its first call.", param="llmName")
    sid = session_named(request, report.provider_session_id)
    await request.app[STORE].sessions.set_status(sid, request[PRINCIPAL].owner, report.llm_name, report.status)
    return reply({"ok": True})


async def task_request(request: web.Request) -> web.Response:
    sid = session_named(request, None)
    body = await request.app[STORE].tasks.request(sid, request[PRINCIPAL].owner, request.match_info["task"])
    return web.Response(body=body, content_type="application/json")


def session_named(request: web.Request, in_body: str | None) -> str:
    """The session that a call is about. Raises BadRequest, UnknownSession (no such id can be one)."""
    sid = in_body or request.headers.get(SESSION_HEADER)
    if not sid:
        raise BadRequest(f"Name the session: `providerSessionId` in the body, or the header {SESSION_HEADER}.")
    if not _SESSION.fullmatch(sid):
        raise UnknownSession()
    return sid


async def _control_body(request: web.Request) -> bytes:
    return await read_body(request, _CONTROL_BYTES, request.app[LIMITS].body_s)


def _llm(index: int, entry: ProviderEntry) -> dict:
    where = f"providers[{index}]"
    check_name(f"{where}.name", entry.name)
    _check_slots(where, entry.slots)
    if entry.tier is not msgspec.UNSET and entry.tier not in ("fast", "heavy"):
        raise Unprocessable(f"{where}.tier is `fast` or `heavy`.", param=f"{where}.tier")
    if entry.aliases is not msgspec.UNSET:
        check_aliases(f"{where}.aliases", entry.aliases)
    # Of a publisher that leaves them out now, those that it said before it was changed would be wrong.
    operations = entry.operations or []
    if len(operations) > _OPERATIONS or not all(_OPERATION.fullmatch(one) for one in operations):
        raise Unprocessable(
            f"{where}.operations has at most {_OPERATIONS} names of letters and `_`, as `messages`.", param=f"{where}.operations"
        )
    initial = "hibernating" if entry.initial_status == "hibernating" else "active"
    given = {
        "type": entry.type, "model": entry.model, "tier": entry.tier, "description": entry.description,
        "extraConfig": entry.extra_config, "slots": entry.slots, "group": entry.group,
        "aliases": entry.aliases, "operations": operations,
    }
    defaults = {"type": "openai", "model": entry.name, "tier": "fast", "description": "", "extraConfig": "{}", "slots": "1"}
    return {
        "name": entry.name, "id": str(uuid.uuid4()), "initial": initial, "hold": entry.initial_status == "draining",
        "fields": _stored(given), "defaults": defaults,
    }


def _tool_server(index: int, entry: ToolServerEntry) -> dict:
    """A row beside the LLMs, under a name that none of them can have."""
    where = f"toolServers[{index}]"
    check_name(f"{where}.name", entry.name)
    _check_slots(where, entry.slots)
    given = {"type": "mcp", "model": "", "description": entry.description, "slots": entry.slots}
    return {
        "name": TOOLS + entry.name, "id": str(uuid.uuid4()), "initial": "active", "fields": _stored(given),
        "defaults": {"description": "", "slots": "4"},
    }


def _check_slots(where: str, slots: int | msgspec.UnsetType) -> None:
    if slots is not msgspec.UNSET and not 1 <= slots <= 100_000:
        raise Unprocessable(f"{where}.slots must be from 1 to 100,000.", param=f"{where}.slots")


def _agent(index: int, entry: AgentEntry) -> dict:
    where = f"agents[{index}]"
    check_name(f"{where}.name", entry.name)
    llm, model = entry.llm_name or "", entry.model or ""
    if bool(llm) == bool(model):
        raise Unprocessable(f"{where} has either an `llmName`, the LLM that answers, or a `model`.", param=f"{where}.llmName")
    if len(model) > _MODEL:
        raise Unprocessable(f"{where}.model has at most {_MODEL} characters.", param=f"{where}.model")
    given = {
        "description": entry.description, "systemPrompt": entry.system_prompt,
        "defaultParams": entry.default_params, "extras": entry.extras, "model": model,
        # A project that is left out is cleared; every other field that is left out stays.
        "project": entry.project or "",
    }
    defaults = {"description": "", "systemPrompt": "", "defaultParams": "{}", "extras": "{}"}
    return {
        "name": entry.name, "id": str(uuid.uuid4()), "initial": "active", "llm": llm,
        "fields": _stored(given), "defaults": defaults,
    }


def _stored(fields: dict) -> dict[str, str]:
    stored = {}
    for name, value in fields.items():
        if value is not msgspec.UNSET:
            stored[name] = msgspec.json.encode(value).decode() if isinstance(value, dict | list) else str(value)
    return stored


def _refuse_twins(where: str, names: list[str]) -> None:
    twins = {name for name in names if names.count(name) > 1}
    if twins:
        raise Unprocessable(f"{where} names {sorted(twins)[0]!r} twice.", param=where)
