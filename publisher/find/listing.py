"""What was found, as lines for people: a table, and what to do when there is nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from publisher.find.found import Found, Sight, shown

MANY = 4
NOTHING = (
    "no LLM server was found on this machine: start one (such as ollama serve, or llama-server -m model.gguf),"
    " or say where it is with --host and --port"
)


def nothing(sight: Sight) -> str:
    """One line that says what to do when there is nothing to publish."""
    if sight.found:
        return "the servers that were found want a key, or tell no models now: name one with --url and --model"
    if sight.silent:
        return f"no LLM server was found, but {sight.silent[0]} did not answer in time: try again with --timeout 3"
    return NOTHING


def table(found: Sequence[Found]) -> list[str]:
    lines = columns(
        ["SERVER", "TYPE", "ADDRESS", "MODELS"],
        [[shown(one.server, 40), one.type, one.url, _models(one)] for one in found],
    )
    told = [lines[0]]
    for one, line in zip(found, lines[1:], strict=True):
        told.append(line)
        if one.note:
            told.append(f"  {shown(one.note, 200)}")
    return told


def _models(one: Found) -> str:
    if one.needs_key:
        return "wants a key"
    if not one.models:
        return "none"
    more = len(one.models) - MANY
    return ", ".join(shown(model, 60) for model in one.models[:MANY]) + (f" and {more} more" if more > 0 else "")


def columns(head: list[str], body: Iterable[list[str]]) -> list[str]:
    cells = [head, *body]
    widths = [max(len(line[number]) for line in cells) for number in range(len(head) - 1)]
    return ["  ".join([*(text.ljust(width) for text, width in zip(line, widths)), line[-1]]).rstrip() for line in cells]
