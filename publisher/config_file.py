"""Reads ``publisher.json``, the file in which people say what they publish.

Every complaint names file, entry and field, and says what would be right. It
never prints a value: values may be secrets.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path

import pydantic

from publisher.config import Config, ConfigError
from publisher.config_schema import AgentEntry, CommandSleep, CommandWake, File, HttpSleep, HttpWake, ProviderEntry

VARIABLE = re.compile(r"\$(\$\{[^}]*\}|\{([A-Za-z_][A-Za-z0-9_]*)\})")


def read_config(path: Path) -> Config:
    """The published part of a config file; ``ConfigError`` when it cannot be used."""
    label = path.name
    written = _expanded(_json(path, label), label)
    try:
        file = File.model_validate(written)
    except pydantic.ValidationError as err:
        raise ConfigError(_complaint(label, written, err)) from None
    _refuse_twins(label, "providers", [p.name for p in file.providers])
    _refuse_twins(label, "agents", [a.name for a in file.agents])
    return file.value()


def _json(path: Path, label: str) -> object:
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err.strerror or err}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{label}: is not UTF-8 text") from None
    except json.JSONDecodeError as err:
        raise ConfigError(f"{label}: line {err.lineno}, column {err.colno}: {err.msg}") from None


def _expanded(value: object, where: str) -> object:
    """``${NAME}`` becomes the variable's value in every string; ``$${NAME}`` stays as ``${NAME}``."""
    if isinstance(value, dict):
        dot = "." if ": " in where else ": "
        return {key: _expanded(item, f"{where}{dot}{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, f"{where}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, str) and "$" in value:
        return VARIABLE.sub(lambda found: _variable(found, where), value)
    return value


def _variable(found: re.Match[str], where: str) -> str:
    name = found.group(2)
    if name is None:
        return found.group(1)
    if name not in os.environ:
        raise ConfigError(f"{where}: the environment variable {name} is not set")
    return os.environ[name]


def _refuse_twins(label: str, kind: str, names: list[str]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ConfigError(f'{label}: {kind}[{number}] ("{name}"): name: {kind}[{names.index(name)}] has the same')


def _complaint(label: str, written: object, err: pydantic.ValidationError) -> str:
    first, more = err.errors()[0], err.error_count() - 1
    path = [part for i, part in enumerate(first["loc"]) if not _is_tag(first["loc"], i)]
    where = [label]
    if len(path) >= 2 and isinstance(path[1], int):
        entry = written[path[0]][path[1]]  # type: ignore[index]
        name = entry.get("name") if isinstance(entry, dict) else None
        where.append(f'{path[0]}[{path[1]}] ("{name}")' if isinstance(name, str) else f"{path[0]}[{path[1]}]")
        path = path[2:]
    if path:
        where.append(".".join(str(part) for part in path))
    tail = f" (and {more} more)" if more else ""
    return ": ".join(where) + ": " + _wrong(first) + tail


def _is_tag(loc: tuple, i: int) -> bool:
    """pydantic puts the recipe's type into the path; nobody wrote it there."""
    return i > 0 and loc[i - 1] in ("wake", "sleep") and loc[i] in ("http", "command")


def _wrong(error: dict) -> str:
    kind, limits = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "is not a known field" + _nearest(error["loc"])
    if kind == "missing":
        return "is missing"
    if kind == "greater_than":
        return f"must be a number above {limits['gt']:g}"
    if kind in ("int_parsing", "float_parsing", "int_type", "float_type", "finite_number"):
        return "must be a number"
    if kind == "int_from_float":
        return "must be a whole number"
    if kind == "literal_error":
        return f"must be {limits['expected']}".replace("'", '"')
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return 'type must be "http" or "command"'
    if kind == "value_error":
        return str(limits["error"])
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must be an object { … }"
    if kind == "list_type":
        return "must be a list [ … ]"
    if kind == "string_too_short":
        return "must not be empty"
    return error["msg"][0].lower() + error["msg"][1:]


def _nearest(loc: tuple) -> str:
    section = next((part for part in reversed(loc[:-1]) if isinstance(part, str)), "")
    if section in ("http", "command"):
        wake = "wake" in loc
        model = {("http", True): HttpWake, ("http", False): HttpSleep,
                 ("command", True): CommandWake, ("command", False): CommandSleep}[section, wake]
    else:
        model = {"providers": ProviderEntry, "agents": AgentEntry}.get(section, File)
    near = difflib.get_close_matches(str(loc[-1]), model.model_fields, n=1, cutoff=0.4)
    return f'; did you mean "{near[0]}"?' if near else "; known are " + ", ".join(model.model_fields)
