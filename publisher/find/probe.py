"""Asks one address for pages, a short while each, and remembers the answers.

GET only, no redirect followed, no proxy. An address that refused, or was silent
twice, is asked for nothing more, unless it is told to forget that.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
import msgspec

LARGEST_PAGE = 4 << 20
PATIENCE = 2  # silences


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    server: str  # the header, in lower case
    text: str
    json: object  # None when the body is none

    @property
    def fields(self) -> dict:
        """The JSON object of a good answer, else an empty one."""
        return self.json if self.status == 200 and isinstance(self.json, dict) else {}

    @property
    def html(self) -> bool:
        return self.text.lstrip()[:1] == "<"


class Probe:
    def __init__(self, http: aiohttp.ClientSession, root: str, timeout_s: float, api_key: str | None = None) -> None:
        self.root = root
        self.refused = False
        self.silences = 0
        self._http = http
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._pages: dict[str, Page | None] = {}

    async def page(self, path: str) -> Page | None:
        """``None``: no HTTP answer in time."""
        if path not in self._pages:
            self._pages[path] = None if self.refused or self.silences >= PATIENCE else await self._get(path)
        return self._pages[path]

    def forget_silences(self) -> bool:
        """Whether there were any. Their pages are asked for again then: a busy server may have been late."""
        silent = self.silences > 0
        self._pages = {path: page for path, page in self._pages.items() if page}
        self.silences = 0
        return silent

    async def fields(self, path: str) -> dict:
        page = await self.page(path)
        return page.fields if page else {}

    async def _get(self, path: str) -> Page | None:
        try:
            async with self._http.get(
                self.root + path, headers=self._headers, timeout=self._timeout, allow_redirects=False
            ) as answer:
                body = bytearray()
                while len(body) < LARGEST_PAGE and (block := await answer.content.readany()):
                    body += block
        except asyncio.TimeoutError:
            self.silences += 1
            return None
        except aiohttp.ClientConnectorError:
            self.refused = True
            return None
        except (aiohttp.ClientError, OSError, ValueError):
            return None
        server = answer.headers.get("Server", "").lower()
        return Page(answer.status, server, body.decode("utf-8", "replace"), _json(body))


def _json(body: bytearray) -> object:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
