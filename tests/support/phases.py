"""Work of every kind brought to every phase of its life, and held there: for a test that then kills somebody.

The kinds: a durable task, an idempotent request that streams, and a request to a pool that streams. Their names, which
their words begin with, are ``<kind>-<phase>-``. Phases are reached by events, and left when ``go_on`` says so:

- ``queued`` in a task's queue · ``line`` in the line of requests
- ``sent`` to a publisher that was not given it yet, for it is stopped
- ``head`` before the first byte · ``stream`` in mid-answer
- ``ended`` at the backend, and not told by the publisher, for it is stopped
- ``between`` two attempts · ``hook``: ended, and the webhook does not hear
- ``called-head`` and ``called-stream``: as above, by a replica that calls a public LLM
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import aiohttp

from tests.support.backend_seen import release, seen, times_seen, until_seen
from tests.support.brokers import Replica
from tests.support.job_history import Submitted, submit_marked
from tests.support.jobs import events_url, next_event, task, until
from tests.support.places import Place
from tests.support.pools import make_pool
from tests.support.processes import Process, Stage
from tests.support.public import make_llm
from tests.support.waiting import eventually

TOKENS = 4
_PATH = "/v1/chat/completions"
_HELD = {"head": "head", "stream": "stream", "ended": "stream"}
_LIMIT_S = 20.0


@dataclass
class Phases:
    """``asked``: the replica that is asked everything. ``publishers``: whose death costs something; the second is stopped
    while phases are held. A third one serves ``spare``, the second member of every pool."""

    asked: Replica
    place: Place
    backends: list[Process]
    publishers: list[Process]
    tasks: dict[str, Submitted] = field(default_factory=dict)
    streams: dict[str, aiohttp.ClientResponse] = field(default_factory=dict)
    waiting: dict[str, asyncio.Task] = field(default_factory=dict)

    async def reach(self, hook_url: str) -> None:
        """Everything is in its phase."""
        await self._occupy()
        await asyncio.gather(
            self._task("head", "m"), self._task("stream", "m"), self._task("called-head", "public"),
            self._task("called-stream", "public"), self._task("ended", "far"), self._task("line", "narrow"),
            self._task("hook", "m", webhook={"url": hook_url, "secret": "s"}),
            *(self._ask(kind, phase) for kind in ("keyed", "pooled") for phase in ("head", "stream", "ended")),
        )
        await self._task("queued", "narrow")
        await self._ask("keyed", "line")
        near, far = self.backends
        for name in ("task-head-", "keyed-head-", "pooled-head-", "task-called-head-"):
            await until_seen(near, lambda one, name=name: name in one["body"], _LIMIT_S)
        for name in ("task-stream", "task-called-stream", "task-ended"):
            await self._began(self.tasks[name])
        await self._stop_the_second(far)
        await self._task("sent", "far")
        await self._ask("keyed", "sent")
        await self._ask("pooled", "sent")
        await self._holds("leases:far", 6)
        await self._holds("waiting:narrow", 2)
        await until(self.asked, self.tasks["task-hook"].name, "done", limit_s=_LIMIT_S)
        await self._task("between", "m", fails_first=1)
        await eventually(lambda: self._rests("task-between"), _LIMIT_S)
        assert (await task(self.asked, self.tasks["task-queued"].name))["position"] == 1
        assert not await times_seen(far, "-sent-")

    async def go_on(self) -> None:
        """Nothing is held any more."""
        self.publishers[1].thaw()
        await release(self.backends[0])

    async def runs(self) -> dict[str, int]:
        """How often backends were asked each."""
        found: dict[str, int] = {}
        for backend in self.backends:
            for one in await seen(backend):
                name = json.loads(one["body"])["script"]["words"].removesuffix("-")
                found[name] = found.get(name, 0) + 1
        return found

    async def leave(self) -> None:
        for answer in self.streams.values():
            answer.close()
        for asking in self.waiting.values():
            asking.cancel()
        await asyncio.gather(*self.waiting.values(), return_exceptions=True)

    def body(self, kind: str, phase: str) -> dict:
        """What is asked, of a request."""
        model = {"line": "narrow", "sent": "far", "ended": "far"}.get(phase, "m")
        script = {"words": f"{kind}-{phase}-", "tokens": TOKENS, "held": _HELD.get(phase, "")}
        return {"model": f"pool-{model}" if kind == "pooled" else model, "messages": [], "stream": True, "script": script}

    async def ask_again(self, broker: Replica, phase: str) -> tuple[int, bytes, bool]:
        """An idempotent request once more: status, answer, and whether it is the first one's."""
        headers = {"Idempotency-Key": phase}
        async with broker.http.post(broker.url + _PATH, json=self.body("keyed", phase), headers=headers) as answer:
            return answer.status, await answer.read(), "Idempotency-Replayed" in answer.headers

    async def _task(self, phase: str, model: str, fails_first: int = 0, **more) -> None:
        script = {"held": _HELD.get(phase.removeprefix("called-"), ""), "fails_first": fails_first}
        self.tasks[f"task-{phase}"] = await submit_marked(
            self.asked, model, f"task-{phase}-", tokens=TOKENS, delay_s=0, script=script, **more
        )

    async def _ask(self, kind: str, phase: str) -> None:
        """Sends a request; if it is to be in mid-answer, until its first event."""
        headers = {"Idempotency-Key": phase} if kind == "keyed" else {}
        asking = asyncio.create_task(self._open(f"{kind}-{phase}", self.body(kind, phase), headers))
        self.waiting[f"{kind}-{phase}"] = asking
        if phase in ("stream", "ended"):
            await asking

    async def _open(self, name: str, body: dict, headers: dict) -> None:
        answer = await self.asked.http.post(self.asked.url + _PATH, json=body, headers=headers)
        self.streams[name] = answer
        if body["script"]["held"] == "stream":
            await answer.content.readuntil(b"\n\n")

    async def _occupy(self) -> None:
        """The one slot of `narrow`."""
        body = {"model": "narrow", "messages": [], "script": {"words": "occupant-", "tokens": 1, "held": "head"}}
        self.waiting["occupant"] = asyncio.create_task(self._open("occupant", body, {}))
        await until_seen(self.backends[0], lambda one: "occupant-" in one["body"], _LIMIT_S)

    async def _began(self, given: Submitted) -> None:
        async with self.asked.http.get(events_url(self.asked, given.name)) as answer:
            while (await next_event(answer, _LIMIT_S))[1]:
                pass

    async def _stop_the_second(self, far: Process) -> None:
        self.publishers[1].freeze()
        await release(far)
        await until_seen(far, lambda one: one["finished"], _LIMIT_S, count=3)

    async def _holds(self, key: str, count: int) -> None:
        async def held() -> bool:
            return len(await self.place.read(key) or ()) == count

        await eventually(held, _LIMIT_S)

    async def _rests(self, name: str) -> bool:
        return bool((await task(self.asked, self.tasks[name].name)).get("retryAt"))


async def set_up(stage: Stage, place: Place, front: str, asked: Replica) -> Phases:
    near, far = await asyncio.gather(stage.backend().ready(), stage.backend().ready())
    publishers = [
        stage.publisher(front, {"name": "m", "url": near.url, "slots": 20}, {"name": "narrow", "url": near.url, "slots": 1}),
        stage.publisher(front, {"name": "far", "url": far.url, "slots": 20}),
        stage.publisher(front, {"name": "spare", "url": near.url, "slots": 20}),
    ]
    await asyncio.gather(*(one.ready() for one in publishers))
    await make_llm(asked, "public", near.url)
    for name in ("m", "far"):
        await make_pool(asked, f"pool-{name}", name, {"llm": "spare", "tier": 1})
    return Phases(asked, place, [near, far], publishers[:2])
