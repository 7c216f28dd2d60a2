"""Durable tasks under any order of what can happen to them: one end, one result, and everything where it belongs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from broker.errors import Conflict
from broker.relay.parts import DONE, failure, head, part
from broker.store.jobs import ENDED, Job
from broker.unknown import UnknownJob
from tests.support.jobs import check_kept_in_order
from tests.support.places import FakePlace
from tests.support.rows import put_public_llm

TRIES = 2
STEPS = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(["interactive", "normal", "batch"]), st.sampled_from(["alice", "bob"])),
    st.tuples(st.just("claim"), st.integers(1, 3), st.booleans()),
    st.tuples(st.just("claim"), st.just(3), st.just(True)),
    st.tuples(st.sampled_from(["begin", "answer", "refuse", "fail", "break"]), st.integers(0, 5), st.none()),
    st.tuples(st.sampled_from(["cancel", "retry"]), st.integers(0, 5), st.none()),
    st.tuples(st.sampled_from(["due", "die", "purge"]), st.none(), st.none()),
)


@dataclass
class Known:
    """What a test knows of a job: its attempts under way and ended, and what the one that counts said."""

    open: str = ""
    tries: int = 0
    attempts: list[str] = field(default_factory=list)
    said: dict[str, bytes] = field(default_factory=dict)
    answered: str = ""
    state: str = "queued"


class World:
    """One replica that is played by hand, one public LLM that two may ask at once."""

    def __init__(self, place: FakePlace):
        self.place = place
        self.settings = place.settings(job_attempts=TRIES, job_upstream_calls=2, job_retry_seconds=0.001, job_poll_seconds=0.001)
        self.store = place.open_store(self.settings)
        self.jobs: dict[str, Known] = {}

    async def begin(self) -> None:
        await put_public_llm(self.place, "gpt", url="http://example.com/v1")

    async def step(self, what: str, choice: object, more: object) -> None:
        await getattr(self, f"do_{what}")(choice, more)
        for name, known in self.jobs.items():
            self.compare(await self.store.jobs.look(name), known)
        assert sum(bool(known.open) for known in self.jobs.values()) <= 2
        await check_kept_in_order(self.place)

    def compare(self, job: Job, known: Known) -> None:
        assert job.state == known.state, (job, known)
        assert [one.task for one in job.attempts] == known.attempts, (job, known)
        assert job.result == known.answered
        assert (job.state == "running") == bool(known.open)

    def at(self, index: int, *, open_: bool) -> tuple[str, Known] | None:
        names = [name for name, known in self.jobs.items() if bool(known.open) or not open_]
        return (names[index % len(names)], self.jobs[names[index % len(names)]]) if names else None

    async def do_submit(self, priority: str, owner: str) -> None:
        if len(self.jobs) < 6:
            made = await self.store.jobs.create("gpt", owner=owner, body=b"{}", priority=priority)
            self.jobs[made.id] = Known()

    async def do_claim(self, limit: int, calls: bool) -> None:
        await asyncio.sleep(0.005)
        await self.store.claims.due()
        claimed = await self.store.claims.claim(limit, calls=limit if calls else 0)
        assert len(claimed.called) <= (limit if calls else 0)
        for called in claimed.called:
            known = self.jobs[called.task.rpartition(".")[0]]
            assert known.state == "queued" and called.task not in known.attempts
            known.open, known.state, known.tries = called.task, "running", known.tries + 1
            known.attempts.append(called.task)

    async def do_begin(self, index: int, _) -> None:
        if found := self.at(index, open_=True):
            assert await self.store.kept.append(found[1].open, head(200, {}) + part(b"C", b"data: x\n\n"))

    async def end(self, index: int, parts: bytes, state: str, *, counts: bool) -> None:
        if not (found := self.at(index, open_=True)):
            return
        name, known = found
        task = known.open
        known.open = ""
        known.state = state if counts or known.tries >= TRIES else "queued"
        if counts:
            known.answered = task
        assert not await self.store.kept.append(task, parts)
        # What comes after the end is nothing.
        assert not await self.store.kept.append(task, parts)
        known.said[task] = parts

    async def do_answer(self, index: int, _) -> None:
        await self.end(index, head(200, {}) + part(b"C", b"%d" % index) + DONE, "done", counts=True)

    async def do_refuse(self, index: int, _) -> None:
        found = self.at(index, open_=True)
        began = found and await self._began(found[1].open)
        await self.end(index, head(400, {}) + part(b"C", b"no") + DONE, "done" if began else "failed", counts=True)

    async def do_fail(self, index: int, _) -> None:
        await self.end(index, failure(503, "publisher_offline", "gone"), "dead", counts=False)

    async def do_break(self, index: int, _) -> None:
        await self.end(index, part(b"C", b"data: y\n\n") + failure(502, "backend_error", "broke"), "dead", counts=False)

    async def do_cancel(self, index: int, _) -> None:
        if found := self.at(index, open_=False):
            name, known = found
            was = await self.store.jobs.cancel(name)
            if known.state in ENDED:
                assert was == known.state
            else:
                assert was == "cancelled"
                known.state, known.open = "cancelled", ""

    async def do_retry(self, index: int, _) -> None:
        if found := self.at(index, open_=False):
            name, known = found
            try:
                await self.store.jobs.retry(name)
                assert known.state in ("dead", "failed")
                known.state, known.tries, known.answered = "queued", 0, ""
            except Conflict:
                assert known.state not in ("dead", "failed")

    async def do_due(self, *_) -> None:
        await asyncio.sleep(0.003)
        await self.store.claims.due()

    async def do_die(self, *_) -> None:
        """Its replica leaves, and another goes on in its place."""
        await self.store.replica.leave()
        for known in self.jobs.values():
            if known.open:
                known.open = ""
                known.state = "dead" if known.tries >= TRIES else "queued"

    async def do_purge(self, *_) -> None:
        for owner in ("alice", "bob"):
            await self.store.jobs.purge(owner, "cancelled")
        for name in [name for name, known in self.jobs.items() if known.state == "cancelled"]:
            del self.jobs[name]
            try:
                await self.store.jobs.look(name)
                raise AssertionError("it was forgotten")
            except UnknownJob:
                pass

    async def _began(self, task: str) -> bool:
        return len(await self.place.read(f"kept:{task}")) > 1

    async def finish(self) -> None:
        """Whatever is left is run to its end."""
        for _ in range(200):
            left = [name for name, known in self.jobs.items() if known.state in ("queued", "running")]
            if not left:
                break
            await self.step("due", None, None)
            await self.step("claim", 3, True)
            await self.step("answer", 0, None)
        assert not left
        for name, known in self.jobs.items():
            if known.answered:
                kept = b"".join(fields[b"p"] for _, fields in await self.place.read(f"kept:{known.answered}") if b"p" in fields)
                assert kept.endswith(known.said[known.answered])
        assert not [key for key in await self.place.keys() if key.startswith((b"leases:", b"task:", b"queue:"))]


@settings(max_examples=20, deadline=None, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=15, max_size=40))
def test_a_task_ends_once_with_one_result_whatever_happens(steps):
    async def play() -> None:
        world = World(FakePlace())
        try:
            await world.begin()
            for step in steps:
                await world.step(*step)
            await world.finish()
        finally:
            await world.store.close()

    asyncio.run(play())
