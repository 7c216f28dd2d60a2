"""``/api/v1/threads``, and those of one agent: made, listed, renamed, deleted; what was said in them.

A thread is its owner's alone; to anybody else, an admin too, it is not there.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from broker.errors import Unprocessable
from broker.threads import Message, Thread

from .bodies import reply
from .context import PRINCIPAL, STORE
from .edits import read_edit

_TITLE = 256
_THREADS, _MESSAGES = 200, 1000


class ThreadEdit(msgspec.Struct):
    """A thread as its owner writes it."""

    title: str | None = None


class ThreadPage(msgspec.Struct, rename="camel"):
    data: list[Thread]
    has_more: bool


class MessagePage(msgspec.Struct, rename="camel"):
    data: list[Message]
    has_more: bool


async def create_thread(request: web.Request) -> web.Response:
    asked = await _edit(request)
    threads = request.app[STORE].threads
    return reply(await threads.create(request.match_info["agent"], request[PRINCIPAL].owner, asked.title or ""), 201)


async def list_threads(request: web.Request) -> web.Response:
    """All of the caller's, or those with the agent that the query names."""
    return await _list(request, request.query.get("agent", ""))


async def list_threads_with(request: web.Request) -> web.Response:
    return await _list(request, request.match_info["agent"])


async def _list(request: web.Request, agent: str) -> web.Response:
    page, more = await request.app[STORE].threads.list(
        request[PRINCIPAL].owner, agent=agent, after=request.query.get("after", ""), limit=_limit(request, _THREADS)
    )
    return reply(ThreadPage(page, more))


async def get_thread(request: web.Request) -> web.Response:
    return reply(await request.app[STORE].threads.thread(request.match_info["thread"], request[PRINCIPAL].owner))


async def edit_thread(request: web.Request) -> web.Response:
    asked = await _edit(request)
    threads, thread, owner = request.app[STORE].threads, request.match_info["thread"], request[PRINCIPAL].owner
    return reply(await (threads.thread(thread, owner) if asked.title is None else threads.rename(thread, owner, asked.title)))


async def delete_thread(request: web.Request) -> web.Response:
    await request.app[STORE].threads.delete(request.match_info["thread"], request[PRINCIPAL].owner)
    return web.Response(status=204)


async def list_messages(request: web.Request) -> web.Response:
    page, more = await request.app[STORE].threads.messages(
        request.match_info["thread"], request[PRINCIPAL].owner,
        after=request.query.get("after", ""), limit=_limit(request, _MESSAGES),
    )
    return reply(MessagePage(page, more))


async def _edit(request: web.Request) -> ThreadEdit:
    if not request.body_exists:
        return ThreadEdit()
    asked = await read_edit(request, ThreadEdit, Thread)
    if asked.title is not None and len(asked.title) > _TITLE:
        raise Unprocessable(f"`title` has at most {_TITLE} characters.", param="title")
    return asked


def _limit(request: web.Request, most: int) -> int:
    text = request.query.get("limit", str(most))
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if not 1 <= number <= most:
        raise Unprocessable(f"`limit` is a number from 1 to {most:,}.", param="limit")
    return number
