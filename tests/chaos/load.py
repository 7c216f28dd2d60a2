"""Clients that ask without end, streaming or not, and write down what they get."""

from __future__ import annotations

import asyncio
import json
import random
import time

import aiohttp

from tests.chaos.history import BROKEN, CUT, GARBLED, OK, REFUSED, Asked, History

DEADLINE_S = 4.0
#: A client gives up here; the check then says that the request ended too late.
_PATIENCE_S = DEADLINE_S + 5.0


class Load:
    """``clients`` of them, until ``stop``. Each request has words that no other has."""

    def __init__(self, urls: list[str], models: list[str], history: History, dice: random.Random):
        self._urls = urls
        self._models = models
        self._history = history
        self._dice = dice
        self._over = asyncio.Event()

    def stop(self) -> None:
        self._over.set()

    async def run(self, clients: int) -> None:
        # A connection each: one that its server closed between two requests would be no answer.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            await asyncio.gather(*(self._client(http, number) for number in range(clients)))

    async def _client(self, http: aiohttp.ClientSession, number: int) -> None:
        count = 0
        while not self._over.is_set():
            count += 1
            one = Asked(
                f"c{number}r{count}-", self._dice.choice(self._urls), self._dice.choice([1, 5, 20]),
                time.monotonic(), DEADLINE_S,
            )
            self._history.asked.append(one)
            try:
                await self._ask(http, one, streaming=self._dice.random() < 0.6)
            except (aiohttp.ClientError, OSError) as error:
                one.ended_how, one.note = CUT, repr(error)
            except TimeoutError:
                one.ended_how, one.note = CUT, "the client gave up"
            except (ValueError, LookupError, TypeError) as error:
                one.ended_how, one.note = GARBLED, repr(error)
            one.ended_at = time.monotonic()
            # A refused client comes again a little later, as clients do.
            await asyncio.sleep(0 if one.ended_how == OK else 0.1)

    async def _ask(self, http: aiohttp.ClientSession, one: Asked, *, streaming: bool) -> None:
        script = {"words": one.marker, "tokens": one.tokens, "delay_s": 0.02}
        body = {"model": self._dice.choice(self._models), "messages": [], "stream": streaming, "script": script}
        headers = {"X-Deadline-Seconds": str(DEADLINE_S)}
        async with http.post(one.url + "/v1/chat/completions", json=body, headers=headers) as answer:
            one.status = answer.status
            if answer.status != 200:
                one.ended_how, one.note = REFUSED, (await answer.text())[:200]
            elif streaming:
                await _read(answer, one)
            else:
                text = (await answer.json())["choices"][0]["message"]["content"]
                one.words = [f"{word} " for word in text.split()]
                one.ended_how = OK


async def _read(answer: aiohttp.ClientResponse, one: Asked) -> None:
    async for line in answer.content:
        if not line.startswith(b"data: "):
            continue
        payload = line[6:].strip().decode()
        if one.ended_how:
            one.after_end.append(payload)
        elif payload == "[DONE]":
            one.ended_how = OK
        elif "error" in (event := json.loads(payload)):
            one.ended_how, one.status, one.note = BROKEN, event["error"]["status"], payload[:200]
        else:
            one.words.append(event["choices"][0]["delta"]["content"])
    if not one.ended_how:
        one.ended_how, one.note = CUT, "the stream ended silently"
