"""How rows of each kind look in a table: short columns, and more of them for ``-o wide``. It prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from .kinds import Kind
from .membership import spelled
from .printing import Cell, shortened

WIDEST = 48
STATUS = {"active": "green", "hibernating": "yellow", "inactive": "red"}
#: Of tasks and batches.
STATE = {"done": "green", "completed": "green", "failed": "red", "dead": "red", "expired": "red", "cancelled": "yellow"}


class Column(NamedTuple):
    head: str
    cell: Callable[[dict], Cell]
    wide: bool = False


def heads(kind: Kind, wide: bool) -> list[str]:
    return [column.head for column in _of(kind, wide)]


def cells(kind: Kind, row: dict, wide: bool) -> list[Cell]:
    made = [column.cell(row) for column in _of(kind, wide)]
    return made if wide else [Cell(shortened(cell.text, WIDEST), cell.colour) for cell in made]


def _of(kind: Kind, wide: bool) -> list[Column]:
    return [column for column in COLUMNS[kind.plural] if wide or not column.wide]


def age(time: str | int | None) -> str:
    """How long ago, as one number and its unit; '' for never. ``time``: ISO-8601, or Unix seconds."""
    if not time:
        return ""
    then = datetime.fromtimestamp(time, UTC) if isinstance(time, int) else datetime.fromisoformat(time)
    return span(int((datetime.now(UTC) - then).total_seconds()))


def span(s: int) -> str:
    """So many seconds, as one number and its unit."""
    s = max(0, s)
    for unit, seconds, from_ in (("d", 86_400, 172_800), ("h", 3_600, 7_200), ("m", 60, 120)):
        if s >= from_:
            return f"{s // seconds}{unit}"
    return f"{s}s"


def ref(value: object) -> str:
    """The name in a reference."""
    return str((value.get("name") or value.get("id") or "") if isinstance(value, dict) else value or "")


def _text(head: str, name: str, wide: bool = False) -> Column:
    return Column(head, lambda row: Cell(_flat(row.get(name))), wide)


def _ago(head: str, name: str, wide: bool = False) -> Column:
    return Column(head, lambda row: Cell(age(row.get(name))), wide)


def _count(head: str, name: str) -> Column:
    return Column(head, lambda row: Cell(str(len(row.get(name) or ()))))


def _flat(value: object) -> str:
    if isinstance(value, list):
        return ",".join(ref(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int | float) else ref(value)


def status(row: dict) -> Cell:
    """Of an LLM, an agent, a session."""
    text = row.get("status") or ""
    # A live row whose channel is closed answers nobody.
    if row.get("kind") == "virtual" and text == "active" and row.get("channel") is False:
        return Cell("active (no channel)", "yellow")
    return Cell(text, STATUS.get(text))


def _answers(row: dict) -> Cell:
    return Cell(ref(row.get("llm")) or f"any {row.get('model') or '?'}")


def _state(name: str) -> Column:
    return Column(name.upper(), lambda row: Cell(row[name], STATE.get(row[name])))


def _answered(row: dict) -> Cell:
    """Which LLM has, or had, a task's last attempt."""
    return Cell((row["attempts"] or [{}])[-1].get("llm") or "")


def _counts(row: dict) -> Cell:
    counts = row["request_counts"]
    return Cell(f"{counts['completed'] + counts['failed']}/{counts['total']}")


_NAME, _ID, _AGE = _text("NAME", "name"), _text("ID", "id", True), _ago("AGE", "createdAt")
_OWNER, _TOLD, _STATUS = _text("OWNER", "ownerId", True), _text("DESCRIPTION", "description", True), Column("STATUS", status)
_KIND, _SESSION = _text("KIND", "kind"), _text("SESSION", "providerSessionId", True)

COLUMNS = {
    "llms": (
        _NAME, _STATUS, _KIND, _text("MODEL", "model"), _AGE, _text("TYPE", "type", True), _text("TIER", "tier", True),
        _text("SLOTS", "slots", True), _text("ALIASES", "aliases", True), _ago("HEARTBEAT", "lastHeartbeatAt", True),
        _text("URL", "url", True), _SESSION, _ID, _TOLD,
    ),
    "agents": (
        _NAME, _STATUS, _KIND, Column("LLM", _answers), _text("PROJECT", "project"), _AGE,
        _text("PERSONALITY", "defaultPersonality", True), _OWNER, _ID, _TOLD,
    ),
    "pools": (
        _NAME, _count("MEMBERS", "members"), _text("STAYS", "affinity"), _AGE,
        Column("MEMBERS ARE", lambda row: Cell(", ".join(spelled(entry) for entry in row["members"])), True), _OWNER, _TOLD,
    ),
    "sessions": (
        _text("ID", "id"), _STATUS, _count("LLMS", "llms"), _count("AGENTS", "agents"), _ago("HEARTBEAT", "lastHeartbeatAt"),
        _AGE, _text("CHANNEL", "channel", True), _OWNER, _text("LLM NAMES", "llms", True), _text("AGENT NAMES", "agents", True),
        _text("TOOL SERVERS", "toolServers", True),
    ),
    "threads": (
        _text("ID", "id"), _text("AGENT", "agent"), _text("TITLE", "title"), _text("RUNNING", "running"),
        _ago("LAST TURN", "lastTurnAt"), _AGE, _OWNER,
    ),
    "tasks": (
        _text("ID", "id"), _state("state"), _text("MODEL", "model"), _text("PRIORITY", "priority"), _count("ATTEMPTS", "attempts"), _AGE,
        Column("ERROR", lambda row: Cell((row["error"] or {}).get("code") or "")), Column("LLM", _answered, True),
        _text("POSITION", "position", True), _ago("ENDED", "endedAt", True), _text("OPERATION", "operation", True),
        _text("DEADLINE", "deadline", True), Column("WEBHOOK", lambda row: Cell((row["webhook"] or {}).get("state") or ""), True),
        Column("MESSAGE", lambda row: Cell((row["error"] or {}).get("message") or ""), True),
    ),
    "batches": (
        _text("ID", "id"), _state("status"), Column("ANSWERED", _counts), Column("FAILED", lambda row: Cell(str(row["request_counts"]["failed"]))),
        _ago("AGE", "created_at"), _text("ENDPOINT", "endpoint", True), _text("INPUT", "input_file_id", True),
        _text("OUTPUT", "output_file_id", True), _text("ERRORS", "error_file_id", True),
    ),
    "projects": (_NAME, _count("SERVERS", "mcpServers"), _AGE, _text("SERVER NAMES", "mcpServers", True), _OWNER, _ID, _TOLD),
    "personalities": (
        _NAME, _count("PROMPTS", "prompts"), _AGE, _text("PROMPT NAMES", "prompts", True), _OWNER, _ID, _TOLD,
    ),
    "prompts": (
        _NAME, _text("SCOPE", "scope"), Column("OF", lambda row: Cell(ref(row.get("project")) or ref(row.get("agent")))), _AGE,
        _text("ID", "id"), Column("CHARACTERS", lambda row: Cell(str(len(row.get("content") or ""))), True), _OWNER,
    ),
    "tool-servers": (_NAME, _STATUS, _text("SLOTS", "slots"), _AGE, _ago("HEARTBEAT", "lastHeartbeatAt", True), _SESSION, _ID, _TOLD),
    "secrets": (_NAME, _text("CURRENT KEY", "current"), _ago("UPDATED", "updatedAt"), _AGE),
}
