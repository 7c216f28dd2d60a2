"""Conversations from the client's side: with an agent, in a thread that the broker keeps; with an LLM, kept here.

Each says what comes to ``hear(event, data)``, with the events of a turn's stream. Nothing is printed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from .api import Api, Broken, Refused, Stream, Unreachable, Where, segment
from .explain import read
from .spoken import history, text_of

Hear = Callable[[str, dict], None]
RESUMES = 5
PAUSE_S = 0.5
CANCEL_TRIES = 20
CANCEL_EVERY_S = 0.1


class WithAgent:
    """``thread``: the one that goes on; None: one is made when something is said."""

    def __init__(self, where: Where, agent: str, personality: str | None, thread: dict | None):
        self._where = where
        self._agent = agent
        self._personality = personality
        self._turn: int | None = None
        self.thread = thread

    def forget(self) -> None:
        """What is said next begins another conversation."""
        self.thread = None

    async def earlier(self) -> list[dict]:
        """The thread's messages."""
        if self.thread is None:
            return []
        async with Api(self._where) as api:
            return await history(api, f"{self._path}/messages")

    async def ask(self, text: str, hear: Hear) -> str:
        """The final answer. Raises Refused, Unreachable, Broken."""
        self._turn = None
        async with Api(self._where) as api:
            if self.thread is None:
                self.thread = await api.send("POST", f"/api/v1/agents/{segment(self._agent)}/threads", {})
            body = {"content": text, "stream": True}
            if self._personality is not None:
                body["personality"] = self._personality or None
            following = _Following(hear)
            try:
                async with api.stream("POST", f"{self._path}/turns", body) as stream:
                    self._turn = int(stream.headers["X-Turn-Index"])
                    await following.read(stream)
            except Broken:
                if self._turn is None:
                    raise
            for _ in range(RESUMES):
                if following.over:
                    break
                await self._resume(api, following)
            return following.answer()

    async def _resume(self, api: Api, following: _Following) -> None:
        """Goes on after the last event: a turn does not end with a connection."""
        await asyncio.sleep(PAUSE_S)
        path = f"{self._path}/turns/{self._turn}/events"
        try:
            async with api.stream("GET", path, **{"Last-Event-ID": following.last or "0"}) as stream:
                await following.read(stream)
        except (Broken, Unreachable):
            return  # the next try may meet another replica

    async def explained(self) -> dict:
        """Raises Refused: a turn may have been many requests."""
        raise Refused(404, "not_found", "an agent's answers are not explained here; those of an LLM, a pool or a model are")

    async def cancel(self) -> None:
        """Ends the turn that runs, and waits until another one may begin."""
        if self.thread is None:
            return
        async with Api(self._where) as api:
            turn = self._turn if self._turn is not None else (await api.get(self._path))["running"]
            if turn is None:
                return
            await api.send("DELETE", f"{self._path}/turns/{turn}")
            for _ in range(CANCEL_TRIES):
                if (await api.get(self._path))["running"] is None:
                    return
                await asyncio.sleep(CANCEL_EVERY_S)

    @property
    def _path(self) -> str:
        return f"/api/v1/threads/{segment(self.thread['id'])}"


class _Following:
    """One turn's events, over however many connections. ``over``: its last one is here."""

    def __init__(self, hear: Hear):
        self._hear = hear
        self._final: dict | None = None
        self._error: Refused | None = None
        self.last = ""

    @property
    def over(self) -> bool:
        return self._final is not None or self._error is not None

    async def read(self, stream: Stream) -> None:
        async for number, event, text in stream.events():
            if number not in ("", "0"):  # what has no number is of this connection only
                self.last = number
            data = json.loads(text)
            if event == "final":
                self._final = data
            elif event == "error":
                error = data.get("error", data)
                # The turn goes on without us; the events that we missed can be read again.
                if error.get("code") == "client_too_slow":
                    return
                self._error = Refused(error.get("status") or 500, error.get("code") or "", error.get("message") or "the turn failed")
            else:
                self._hear(event, data)
            if self.over:
                return

    def answer(self) -> str:
        if self._error is not None:
            raise self._error
        if self._final is None:
            raise Broken("the answer broke off; the turn may still run: `broker chat --thread` shows what came of it")
        return text_of(self._final["message"].get("content"))


class WithLLM:
    """The messages so far are sent again with each; an answer that did not come to its end is forgotten."""

    def __init__(self, where: Where, llm: str):
        self._where = where
        self._llm = llm
        self._messages: list[dict] = []
        self._request = ""

    def forget(self) -> None:
        self._messages = []

    async def earlier(self) -> list[dict]:
        return []

    async def ask(self, text: str, hear: Hear) -> str:
        """The answer. Raises Refused, Unreachable, Broken."""
        messages = [*self._messages, {"role": "user", "content": text}]
        said: list[str] = []
        async with Api(self._where) as api:
            body = {"model": self._llm, "messages": messages, "stream": True}
            async with api.stream("POST", "/v1/chat/completions", body) as stream:
                self._request = stream.headers.get("X-Request-Id", "")
                async for _, _, data in stream.events():
                    if data == "[DONE]":
                        break
                    _hear_chunk(json.loads(data), said, hear)
                else:
                    raise Broken("the answer broke off")
        answer = "".join(said)
        self._messages = [*messages, {"role": "assistant", "content": answer}]
        return answer

    async def cancel(self) -> None:
        """To hang up was enough."""

    async def explained(self) -> dict:
        """Why the last answer came from whom it did. Raises Refused, Unreachable."""
        if not self._request:
            raise Refused(404, "not_found", "nothing was asked yet")
        async with Api(self._where) as api:
            return await read(api, self._request)


def _hear_chunk(chunk: dict, said: list[str], hear: Hear) -> None:
    if error := chunk.get("error"):
        raise Refused(error.get("status") or 500, str(error.get("code") or ""), str(error.get("message")))
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            hear("reasoning", {"text": thought})
        if delta.get("content"):
            said.append(delta["content"])
            hear("text", {"text": delta["content"]})
