"""Rows of any kind as the broker has them: all, or the one that a person means."""

from __future__ import annotations

from .api import Api, Refused, segment
from .columns import ref
from .kinds import OF, Kind


async def every(api: Api, kind: Kind, *, most: int | None = None, **filters: str) -> list[dict]:
    """The rows, in the broker's order; of kinds that come in pages the first ``most``. Raises Refused, Unreachable."""
    if kind.plural == "prompts":  # of one name there may be several
        return sorted(await api.get(kind.path, **filters), key=lambda row: (row["name"], scope(row)))
    if not kind.page:
        return _list(await api.get(kind.path, **filters))
    found: list[dict] = []
    while most is None or len(found) < most:
        page = await api.get(kind.path, limit=str(kind.page if most is None else min(kind.page, most - len(found))), **filters)
        found += _list(page)
        filters["after"] = _next(page)
        if not filters["after"]:
            break
    return found


async def one(api: Api, kind: Kind, name: str) -> dict:
    """The row of that name or id. Raises Refused for none, and for a prompt's name that several have."""
    if kind.plural == "secrets":
        for row in await every(api, kind):
            if row["name"] == name:
                return row
        raise Refused(404, "unknown_secret", f"There is no secret {name!r}; `broker get secrets` lists those that there are.")
    try:
        return await api.get(f"{kind.path}/{segment(name)}")
    except Refused as refused:
        if refused.status != 404 or kind.plural != "prompts":
            raise
    return _only(name, [row for row in await every(api, kind) if row["name"] == name])


async def one_or_none(api: Api, kind: Kind, name: str) -> dict | None:
    """The same, and None for none."""
    try:
        return await one(api, kind, name)
    except Refused as refused:
        if refused.status != 404:
            raise
        return None


async def delete(api: Api, kind: Kind, name: str) -> None:
    """Raises Refused."""
    key = (await one(api, kind, name))["id"] if kind.plural == "prompts" else name
    await api.send("DELETE", f"{kind.path}/{segment(key)}")


def scope(row: dict) -> str:
    """Where a prompt belongs, for a person."""
    for word in OF:
        if row.get(word):
            return f"{word} {ref(row[word])}"
    return "global"


def _next(page: dict) -> str:
    """The ``after`` of the page that follows; '' behind the last. A page of tasks may be empty and not be the last."""
    if "next" in page:
        return page["next"] or ""
    more = page.get("hasMore") or page.get("has_more")
    return page["data"][-1]["id"] if more and page["data"] else ""


def _only(name: str, found: list[dict]) -> dict:
    if len(found) == 1:
        return found[0]
    if not found:
        raise Refused(404, "not_found", f"There is no prompt {name!r}; `broker get prompts` lists those that there are.")
    told = ", ".join(f"{row['id']} ({scope(row)})" for row in found)
    raise Refused(409, "ambiguous", f"{len(found)} prompts are called {name!r}; give an id: {told}")


def _list(answer: object) -> list[dict]:
    return answer["data"] if isinstance(answer, dict) else answer
