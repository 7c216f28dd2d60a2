"""Whom a person means by a word: an agent, or else what a client may ask for as a model."""

from __future__ import annotations

from .api import Api, Refused, segment
from .kinds import PLURAL
from .rows import one_or_none

AGENT, MODEL = "agent", "model"


async def who(api: Api, word: str) -> tuple[str, str]:
    """(AGENT or MODEL, its name). `agent/NAME` and `llm/NAME` say which is meant. Raises Refused, Unreachable."""
    kind, _, plain = word.partition("/")
    for name in dict.fromkeys([word] if kind != "agent" else [word, plain]):
        if kind != "llm" and (row := await one_or_none(api, PLURAL["agents"], name)):
            return AGENT, row["name"]
    near = ""
    for name in dict.fromkeys([word] if kind != "llm" else [word, plain]):
        try:
            await api.get(f"/v1/models/{segment(name)}")
            return MODEL, name
        except Refused as refused:
            if refused.status != 404:
                raise
            near = "".join(str(refused).partition(" Near that name:")[1:])
    lists = "`broker get agents` and `broker get llms` list those that there are"
    raise Refused(404, "not_found", f"there is no agent and no LLM {word!r}; {lists}" + (f".{near}" if near else ""))
