"""Clients of resumable streams: whenever a connection breaks they read on at another replica, and at the end all of it anew."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

import aiohttp

from tests.chaos.asking import PATH, body_of, outcome_of
from tests.chaos.history import BROKEN, OK, REFUSED, Asked, History

#: How long a client tries to read on.
_PATIENCE_S = 25.0


class Resuming:
    def __init__(self, http: aiohttp.ClientSession, urls: list[str], history: History):
        self._http = http
        self._urls = urls
        self._history = history

    async def run(self, one: Asked) -> None:
        """Asks, and hears it to its end."""
        events: list[tuple[str, str]] = []
        stream = ""
        with outcome_of(one):
            headers = {"X-Resumable": "true", "X-Deadline-Seconds": "20"}
            async with self._http.post(one.url + PATH, json=body_of(one, streaming=True), headers=headers) as answer:
                one.status = answer.status
                if answer.status != 200:
                    return one.end(REFUSED, (await answer.text())[:200])
                stream = answer.headers["X-Stream-Id"]
                await _read(answer, events)
        if not stream:
            return
        others = itertools.cycle([url for url in self._urls if url != one.url] + [one.url])
        until = time.monotonic() + _PATIENCE_S
        while not _is_whole(events):
            if time.monotonic() > until:
                return self._wrong(one, stream, f"could not be read on after {events[-1:]}")
            if await self._read_on(next(others), stream, events) == 404:
                return self._wrong(one, stream, f"is unknown after {events[-1:]}")
        with outcome_of(one):
            _fill_in(one, events)
        await asyncio.gather(*(self._compare(one, url, stream, events) for url in self._urls))

    async def _compare(self, one: Asked, url: str, stream: str, events: list[tuple[str, str]]) -> None:
        """All of it anew, at each replica that is there."""
        again: list[tuple[str, str]] = []
        until = time.monotonic() + 4
        while not _is_whole(again) and time.monotonic() < until:
            again.clear()
            if await self._read_on(url, stream, again) == 404:
                return self._wrong(one, stream, f"is unknown at {url} soon after its end")
        if _is_whole(again) and again != events:
            self._wrong(one, stream, f"reads differently at {url}: {again} instead of {events}")

    async def _read_on(self, url: str, stream: str, events: list[tuple[str, str]]) -> int:
        """The status; a little later if there was no answer, as clients do."""
        try:
            params = {"after": events[-1][0]} if events else {}
            async with self._http.get(f"{url}/api/v1/streams/{stream}", params=params) as answer:
                if answer.status == 200:
                    await _read(answer, events)
                    return 200
                await asyncio.sleep(0.1)
                return answer.status
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.1)
            return 0

    def _wrong(self, one: Asked, stream: str, what: str) -> None:
        self._history.told.append(f"the stream {stream} of {one.marker} at {one.model} {what}")


async def _read(answer: aiohttp.ClientResponse, events: list[tuple[str, str]]) -> None:
    """Whole events with ids. One without is a word of that replica alone."""
    name, payload = "", ""
    async for line in answer.content:
        if line.startswith(b"id: "):
            name = line[4:].strip().decode()
        elif line.startswith(b"data: "):
            payload = line[6:].strip().decode()
        elif line == b"\n":
            if name:
                events.append((name, payload))
            name, payload = "", ""


def _is_whole(events: list[tuple[str, str]]) -> bool:
    return bool(events) and (events[-1][1] == "[DONE]" or "error" in json.loads(events[-1][1]))


def _fill_in(one: Asked, events: list[tuple[str, str]]) -> None:
    if len({name for name, _ in events}) != len(events):
        one.after_end.append("an event came twice")
    for _, payload in events[:-1]:
        one.hear(json.loads(payload))
    last = events[-1][1]
    if last == "[DONE]":
        one.status = 200
        one.end(OK)
    else:
        one.status = json.loads(last)["error"]["status"]
        one.end(BROKEN, last[:200])
