"""Lets queued jobs begin, from this replica: when one is made or ends here, and else every now and then.

The scripts decide which and where. What is left to do here is to call public LLMs, to make the requests of agents, and to
run the loops of those with tools; a replica that dies with that undone leaves it to the others.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from msgspec import structs

from broker.errors import AgentLLMMissing, AgentOffline, BadRequest, PublisherOffline, StoreUnavailable
from broker.model import Persona
from broker.store import Store
from broker.store.claims import Asked, Called, Looping
from broker.unknown import UnknownLLM

from .call import Call
from .exchange import Patience
from .keeper import Pen
from .parts import failure
from .post import Post
from .relay import Relay

log = logging.getLogger(__name__)

#: Jobs that one claim lets begin.
_AT_ONCE = 64


class Agents(Protocol):
    """What agents add to jobs (``broker/chat/attempts.py``)."""

    def request(self, call: Call, persona: Persona) -> bytes | None:
        """What the agent's LLM is asked; None: it is asked in a loop, by ``start``. Raises BadRequest."""

    def start(self, pen: Pen, call: Call, llm: str, task: str, persona: Persona) -> asyncio.Task: ...


class Claimer:
    """``poll_s``: how often it looks when it heard of nothing."""

    def __init__(self, store: Store, relay: Relay, post: Post, agents: Agents, patience: Patience, *, poll_s: float):
        self._store = store
        self._agents = agents
        self._relay = relay
        self._post = post
        self._patience = patience
        self._poll_s = poll_s
        self._bell = asyncio.Event()
        self._queued = False
        self._unsure = False
        self._stopped = False

    def nudge(self) -> None:
        """A job was made."""
        self._bell.set()

    def heard_end(self) -> None:
        """A request ended here, so a slot may be free. Where no job waits this costs nothing."""
        if self._queued:
            self._bell.set()

    def stop(self) -> None:
        """This replica goes away: it begins nothing more."""
        self._stopped = True

    async def run(self) -> None:
        """Claims, for ever; across outages of Redis."""
        while True:
            try:
                more = False if self._stopped else await self._claim()
            except StoreUnavailable:
                self._unsure, more = True, False
            except Exception:
                log.exception("bug", extra={"duty": "claimer"})
                more = False
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await self._bell.wait()
            self._bell.clear()

    async def _claim(self) -> bool:
        if self._unsure:
            await self._give_back()
            self._unsure = False
        claimed = await self._store.claims.claim(_AT_ONCE, calls=self._relay.room_for_calls)
        self._queued = claimed.queued
        for called in claimed.called:
            self._call(called)
        await asyncio.gather(*(self._ask(asked) for asked in claimed.asked))
        # Agents' jobs are let out a few at a time.
        return claimed.more or bool(claimed.asked)

    def _call(self, called: Called) -> None:
        patience = replace(self._patience, deadline_s=called.deadline_ms / 1000)
        call = Call(
            llm=called.target.llm, operation=called.operation, body=called.body, streaming=called.streaming,
            owner=called.owner, patience=patience,
        )
        self._relay.make(call, called.target, called.task)

    async def _ask(self, asked: Asked) -> None:
        claims = self._store.claims
        call = Call(asked.agent, asked.operation, asked.body, asked.streaming, "", self._patience)
        try:
            persona = await self._store.agents.persona(asked.agent)
            body = self._agents.request(call, persona) if persona else b""
        except (AgentOffline, AgentLLMMissing, PublisherOffline, UnknownLLM):
            persona, body = None, b""
        except BadRequest as refusal:
            return await claims.refuse(asked.job, refusal.code, refusal.message)
        model = persona.model if persona else ""
        llm = persona.llm if persona and not model else ""
        given = await claims.start(asked.job, llm, model, body)
        if isinstance(given, Looping):
            self._loop(call, given, persona)
        elif given:
            self._call(given)

    def _loop(self, call: Call, given: Looping, persona: Persona) -> None:
        # Its asks may wait as long as a job may; how long an attempt may take from then on is the scripts' to say.
        left_s = given.deadline_ms / 1000
        patience = replace(self._patience, deadline_s=left_s, queue_wait_s=left_s)
        call = structs.replace(call, owner=given.owner, patience=patience, priority=given.priority, may_wake=given.may_wake)
        self._relay.write(given.task, lambda pen: self._agents.start(pen, call, given.llm, given.task, persona))

    async def _give_back(self) -> None:
        """Ends the calls that this replica was given while Redis' answer was lost: nobody makes them."""
        lost = failure(503, "broker_lost", "the replica of the broker that was to call the upstream did not hear of it")
        for task in await self._store.claims.held():
            if task.encode() not in self._post.exchanges:
                await self._store.tasks.cancel(task, "broker_lost", refusal=lost)
