"""Lists as OpenAI pages them: ``?limit=&after=&order=``, the last item's id being the next page's ``after``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from broker.errors import BadRequest

Item = TypeVar("Item")

_MOST = 100


def limit_of(request: web.Request, *, default: int = 20, most: int = _MOST) -> int:
    """Raises BadRequest."""
    text = request.query.get("limit", str(default))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise BadRequest(f"`limit` is a number from 1 to {most:,}.", param="limit")
    return int(text)


def newest_first(request: web.Request, *, default: str) -> bool:
    """Raises BadRequest."""
    order = request.query.get("order", default)
    if order not in ("asc", "desc"):
        raise BadRequest("`order` is `asc` or `desc`.", param="order")
    return order == "desc"


def page_of(request: web.Request, items: list[Item], name: Callable[[Item], str], *, default: str) -> dict[str, Any]:
    """The page of a list, which is oldest first, that was asked for. Raises BadRequest."""
    limit = limit_of(request)
    if newest_first(request, default=default):
        items = items[::-1]
    if after := request.query.get("after"):
        names = [name(item) for item in items]
        if after not in names:
            raise BadRequest("`after` is the id of an item of this list.", param="after")
        items = items[names.index(after) + 1 :]
    return listed(items[:limit], name, more=len(items) > limit)


def listed(items: list[Item], name: Callable[[Item], str], *, more: bool) -> dict[str, Any]:
    first, last = (name(items[0]), name(items[-1])) if items else (None, None)
    return {"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": more}
