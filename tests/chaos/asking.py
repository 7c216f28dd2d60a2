"""One request by one client: what it asks, and what it hears, however that ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from tests.chaos.history import BROKEN, CUT, GARBLED, OK, REFUSED, Asked

PATH = "/v1/chat/completions"
DEADLINE_S = 4.0
#: So long after its deadline a client gives up; the check then says that the request ended too late.
_PATIENCE_S = 5.0


def body_of(one: Asked, *, streaming: bool) -> dict:
    script = {"words": one.marker, "tokens": one.tokens, "delay_s": 0.02}
    return {"model": one.model, "messages": [], "stream": streaming, "script": script}


@contextmanager
def outcome_of(one: Asked) -> Iterator[None]:
    """What is raised while it is asked, as its outcome."""
    try:
        yield
    except TimeoutError:
        one.end(CUT, "the client gave up")
    except (aiohttp.ClientError, OSError) as error:
        one.end(CUT, repr(error))
    except (ValueError, LookupError, TypeError) as error:
        one.end(GARBLED, repr(error))
    finally:
        one.ended_at = time.monotonic()


async def ask(http: aiohttp.ClientSession, one: Asked, *, streaming: bool, headers: dict | None = None) -> tuple[list[str], dict]:
    """Fills in what became of it. The payloads of its answer, and the head's headers."""
    heard: list[str] = []
    head: dict = {}
    given = {"X-Deadline-Seconds": str(one.deadline_s), **(headers or {})}
    timeout = aiohttp.ClientTimeout(total=one.deadline_s + _PATIENCE_S)
    with outcome_of(one):
        async with http.post(one.url + PATH, json=body_of(one, streaming=streaming), headers=given, timeout=timeout) as answer:
            one.status, head = answer.status, dict(answer.headers)
            if answer.status != 200:
                one.end(REFUSED, (await answer.text())[:200])
            elif streaming:
                await _read(answer, one, heard)
            else:
                heard.append(await answer.text())
                whole = json.loads(heard[0])
                one.generations.add(whole["id"])
                one.words = [f"{word} " for word in whole["choices"][0]["message"]["content"].split()]
                one.end(OK)
    return heard, head


async def _read(answer: aiohttp.ClientResponse, one: Asked, heard: list[str]) -> None:
    async for line in answer.content:
        if not line.startswith(b"data: "):
            continue
        payload = line[6:].strip().decode()
        heard.append(payload)
        if one.ended_how:
            one.after_end.append(payload)
        elif payload == "[DONE]":
            one.end(OK)
        elif "error" in (event := json.loads(payload)):
            one.status = event["error"]["status"]
            one.end(BROKEN, payload[:200])
        else:
            one.hear(event)
    if not one.ended_how:
        one.end(CUT, "the stream ended silently")
