"""From servers that were found to what is published of them: which models, under which names.

Plain functions; it asks nobody and writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PureWindowsPath

from publisher.config.values import Native, Provider, Recipe
from publisher.find.found import Found

LONGEST_NAME = 128
PATTERN_SIGNS = set("*?[")  # in a config file's "model" these make it a pattern

Row = tuple[Found, str]  # one model of one server


def rows(found: Iterable[Found]) -> list[Row]:
    """Everything that can be published just so."""
    return [
        (one, model) for one in found if not one.needs_key for model in one.models if not PATTERN_SIGNS & set(model)
    ]


def numbers(text: str, most: int) -> list[int]:
    """``1,3-5`` or ``all``, as positions from 0. Raises ``ValueError`` with what to write instead."""
    if text.strip().lower() in ("all", "*"):
        return list(range(most))
    chosen: list[int] = []
    for part in re.split(r"[,\s]+", text.strip()):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= most:
            raise ValueError(f'write numbers from 1 to {most}, such as 1 or 1,{most}, or "all"')
        chosen += range(first - 1, last)
    return list(dict.fromkeys(chosen))


def providers(chosen: Iterable[Row], names: Iterable[str] = ()) -> tuple[Provider, ...]:
    """``names``: one for each row, or none at all. Names that would be twins get the type appended."""
    chosen, given = list(chosen), list(names)
    taken: set[str] = set(given)
    made = []
    for number, (found, model) in enumerate(chosen):
        name = given[number] if given else _unique(_name(found, model), found, taken)
        taken.add(name)
        made.append(Provider(name=name, url=found.url, model=model, type=found.type))
    return tuple(made)


def sleeping(provider: Provider, idle_s: float) -> Provider:
    """The same, unloaded after so long without work and loaded when someone asks."""
    native = Recipe((Native(),))
    return replace(provider, wake=native, sleep=native, idle_s=idle_s)


def _name(found: Found, model: str) -> str:
    """The model's own, as far as it can be a name; a file's without its folder, and Ollama's without ``:latest``."""
    name = PureWindowsPath(model).stem if model.lower().endswith(".gguf") else model
    name = name.removesuffix(":latest") if found.type == "ollama" else name
    name = re.sub(r"[\x00-\x1f\x7f-\x9f]", "", name).replace("{model}", "model").lstrip("_")
    return name[:LONGEST_NAME] or found.type


def _unique(name: str, found: Found, taken: set[str]) -> str:
    number = 1
    unique = name
    while unique in taken:
        end = f"@{found.type}" + (f"-{number}" if number > 1 else "")
        unique = name[: LONGEST_NAME - len(end)] + end
        number += 1
    return unique
