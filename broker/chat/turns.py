"""The turns that run at this replica: begun, stopped, and told to Redis so that none stays behind.

Nothing is awaited between a call and its first token but the one script that begins the turn, and the listing of
tools where there are any.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace

from broker.chat_errors import BrokerStopped
from broker.errors import Refusal
from broker.relay.exchange import Patience
from broker.relay.relay import Relay
from broker.store.turns import Turns as TurnStore
from broker.threads import Begun, to_send
from broker.tools.toolbox import Toolboxes

from .block import Fields, merged, system_block
from .loop import Question, converse
from .pieces import Outcome
from .turn import Turn

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a caller wants of a thread. ``content``: JSON. ``personality``: None is the agent's own, '' none. ``params``: of
    the chat request, JSON values by name. ``buffer_bytes``: most that is held for a caller who reads slowly."""

    thread: str
    owner: str
    request_id: str
    content: bytes
    streaming: bool
    personality: str | None
    params: Fields
    max_iterations: int
    patience: Patience
    buffer_bytes: int
    priority: str = "interactive"
    may_wake: bool = True


class Turns:
    """``ended`` is told how each turn ended ("ok", or a refusal's code) and when it began. ``request_bytes``: most that an LLM
    is sent; ``result_bytes``: most that it may say."""

    def __init__(
        self, store: TurnStore, relay: Relay, toolboxes: Toolboxes, *,
        ended: Callable[[str, float], None], request_bytes: int, result_bytes: int,
    ):
        self._ended = ended
        self._store = store
        self._relay = relay
        self._toolboxes = toolboxes
        self._request_bytes = request_bytes
        self._result_bytes = result_bytes
        # By token: the thread from before it begins until its end is written, the turn while it runs.
        self._threads: dict[str, str] = {}
        self._turns: dict[str, Turn] = {}
        self._tasks: set[asyncio.Task] = set()

    @property
    def running(self) -> int:
        return len(self._threads)

    async def start(self, asked: Asked) -> Turn:
        """Begins a turn, which runs whether or not its caller waits. Raises what ``store.Turns.begin`` raises."""
        return await asyncio.shield(self._task(self._begin(asked)))

    def turn(self, token: str) -> Turn | None:
        """The turn of that token, if it runs here."""
        return self._turns.get(token)

    async def look(self) -> None:
        """Hears which turns are to stop, and lets Redis forget those that nobody runs any more."""
        for token, word in await self._store.held([(thread, token) for token, thread in self._threads.items()]):
            if turn := self._turns.get(token):
                turn.hear_of(word)

    async def close(self, within_s: float) -> None:
        """Ends what runs; what cannot be told to Redis in time is left to the other replicas."""
        for turn in list(self._turns.values()):
            turn.stop(BrokerStopped())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _begin(self, asked: Asked) -> Turn:
        token = uuid.uuid4().hex
        self._threads[token] = asked.thread
        try:
            begun = await self._store.begin(
                asked.thread, asked.owner, token, b'"role":"user","content":%s}' % asked.content,
                personality=asked.personality, limit_bytes=self._request_bytes, may_wake=asked.may_wake,
            )
        except BaseException:
            del self._threads[token]
            raise
        turn = Turn(self._store, begun, lambda hear, said: self._talk(asked, begun, hear, said), deadline_s=asked.patience.deadline_s)
        if asked.streaming:
            # Now, or its first events would be gone before its caller hears that it began.
            turn.live = turn.listen(asked.buffer_bytes)
        self._turns[token] = turn
        self._task(self._run(turn))
        return turn

    async def _run(self, turn: Turn) -> None:
        try:
            await turn.run()
        finally:
            del self._turns[turn.token], self._threads[turn.token]
            self._ended(turn.refusal.code if turn.refusal else "ok", turn.began_at)

    async def _talk(self, asked: Asked, begun: Begun, hear, said) -> Outcome:
        loop = asyncio.get_running_loop()
        due = loop.time() + asked.patience.deadline_s
        persona = begun.persona
        fields = merged(*persona.params, asked.params)
        # Of several answers a thread could keep but one.
        fields.pop("n", None)
        tools = await self._toolboxes.open(persona.servers, persona.extras, asked.owner)
        question = Question(
            llm=persona.llm, owner=asked.owner, request_id=asked.request_id, streaming=asked.streaming,
            patience=replace(asked.patience, deadline_s=max(0.001, due - loop.time())),
            fields=fields,
            messages=[*system_block(persona.prompts), *to_send([*begun.before, begun.asked])],
            max_iterations=asked.max_iterations, answer_bytes=self._result_bytes,
            priority=asked.priority, may_wake=asked.may_wake,
        )
        return await converse(self._relay, tools, question, hear, said)

    def _task(self, coroutine: Coroutine) -> asyncio.Task:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not isinstance(error, Refusal):
            log.error("bug", exc_info=error)
