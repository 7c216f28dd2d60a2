"""What the broker hears when one of a group has to make room: that it takes no new work, and when it does again."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from publisher.config.values import Command, Recipe
from tests.publisher.review.edits import config_of, edit
from tests.publisher.running import Scene, play, scene
from tests.support.backend import Backend
from tests.support.waiting import eventually

RECIPE = Recipe((Command("true"),))
HANGS = {"messages": [], "script": {"hang": "head"}}
GROUP = {"wake": RECIPE, "sleep": RECIPE, "group": "gpu0", "min_awake_s": 0.0}


class Pair:
    """`m`, which is awake and has work, and `n`, which sleeps."""

    def __init__(self, s: Scene, other: Backend, told) -> None:
        self.s, self.other, self.told = s, other, told

    def state(self, name: str) -> str:
        return next(row.state for row in self.s.publisher.status().rows if row.name == name)

    @property
    def statuses(self) -> list[str]:
        return [status for name, status in self.s.broker.statuses if name == "m"]

    async def work_ends(self) -> None:
        await self.s.broker.send(kind="cancel", taskId=self.s.broker.id_of(self.told), reason="client gone")
        await self.s.broker.ended(self.told)


@contextlib.asynccontextmanager
async def pair(*, group_wait_s: float, max_wait_s: float = 60.0, **more):
    async with Backend(up=False) as other, scene(**GROUP, **more) as s:
        provider = s.publisher.roster.get("m").provider
        beside = replace(provider, name="n", url=other.url, group_wait_s=group_wait_s, max_wait_s=max_wait_s)
        await s.publisher.apply(config_of(s, provider, beside))
        told = await s.broker.infer(HANGS)
        await s.backend.until(lambda: s.backend.seen)
        yield Pair(s, other, told)


def test_the_busy_one_is_draining_until_it_sleeps_and_the_other_one_wakes():
    async def test():
        async with pair(group_wait_s=0.2) as p:
            wake = await p.s.broker.order("wake", llm="n")
            await eventually(lambda: p.state("n") == "in line")
            assert p.state("m") == "active"
            await p.s.broker.until(lambda: p.statuses == ["draining"])
            assert p.state("m") == "draining" and not p.told.ended
            await p.work_ends()
            await p.s.broker.until(lambda: p.statuses == ["draining", "hibernating"])
            p.s.backend.up, p.other.up = False, True
            assert (await p.s.broker.ended(wake)).last["body"]["ok"] is True
            assert (p.state("m"), p.state("n")) == ("hibernating", "active")

    play(test())


def test_what_a_broker_has_on_its_way_is_waited_for_and_the_row_stays_held():
    async def test():
        async with pair(group_wait_s=0.0) as p:
            wake = await p.s.broker.order("wake", llm="n")
            await p.s.broker.until(lambda: p.statuses == ["draining"])
            p.s.broker.refuse["status"] = [(409, "work is running")] * 2
            await p.work_ends()
            await p.s.broker.until(lambda: p.statuses == ["draining", "hibernating"])
            assert not p.s.broker.refuse["status"]
            p.s.backend.up, p.other.up = False, True
            await p.s.broker.ended(wake)

    play(test())


def test_a_broker_that_does_not_know_the_word_goes_on_giving_work_and_the_wake_fails_in_the_end():
    async def test():
        async with pair(group_wait_s=0.05, max_wait_s=0.3, timers={"availability_s": 1000.0}) as p:
            p.s.broker.refuse["status"] = [(422, "`status` is `active` or `hibernating`.")]
            wake = await p.s.broker.order("wake", llm="n")
            await p.s.broker.until(lambda: not p.s.broker.refuse["status"])
            assert (await p.s.ask()).last["status"] == 200
            await p.s.broker.ended(wake)
            assert '"m" is busy and was so for 0.3 s' in wake.last["error"]
            assert p.statuses == [] and p.state("m") == "active"

    play(test())


def test_a_session_that_is_lost_meanwhile_is_registered_with_the_row_held():
    async def test():
        async with pair(group_wait_s=0.0, heartbeat_s=0.05) as p:
            await p.s.broker.order("wake", llm="n")
            await p.s.broker.until(lambda: p.statuses == ["draining"])
            known = len(p.s.broker.registrations)
            p.s.broker.refuse["heartbeat"] = [(404, "unknown session")]
            await p.s.broker.until(lambda: len(p.s.broker.registrations) > known)
            rows = {row["name"]: row["initialStatus"] for row in p.s.broker.registrations[-1]["providers"]}
            assert rows == {"m": "draining", "n": "hibernating"}

    play(test())


def test_the_other_one_that_is_unpublished_while_it_waits_lets_the_busy_one_take_work_again():
    async def test():
        async with pair(group_wait_s=0.0) as p:
            wake = await p.s.broker.order("wake", llm="n")
            await p.s.broker.until(lambda: p.statuses == ["draining"])
            stopping = p.s.publisher.roster.get("n")
            await stopping.power.stop()
            # What was under way when it was stopped may be said once more before.
            await p.s.broker.until(lambda: p.statuses[-1] == "active")
            await p.s.broker.ended(wake)
            assert p.state("m") == "active" and "stopped" in wake.last["error"]

    play(test())


def test_a_busy_one_that_is_edited_while_it_makes_room_is_held_back_by_its_new_words_too():
    async def test():
        async with pair(group_wait_s=0.0) as p:
            wake = await p.s.broker.order("wake", llm="n")
            await p.s.broker.until(lambda: p.statuses == ["draining"])
            await edit(p.s, description="another")
            await eventually(lambda: p.state("m") == "draining")
            await p.work_ends()
            await p.s.broker.until(lambda: p.statuses[-1] == "hibernating")
            p.s.backend.up, p.other.up = False, True
            assert (await p.s.broker.ended(wake)).last["body"]["ok"] is True

    play(test())
