"""Warm hours in force: woken when they begin, kept awake within, and never in place of a mate of the group."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from zoneinfo import ZoneInfo

from publisher.activity import Activity
from publisher.config.values import Native, Provider, Recipe, WarmHours
from publisher.power.group import Group
from publisher.power.hours import Hours
from publisher.power.idle import Idle, sleeps_in_s
from publisher.power.power import Power
from publisher.power.prewarm import Prewarm
from publisher.power.ways import Limits, State, Ways
from publisher.published.endpoint import Endpoint
from publisher.published.slots import Slots
from tests.support.virtual_time import run_virtually

MONDAY = datetime(2026, 3, 2, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
HOUR = 3600
RECIPE = Recipe((Native(),))


class Server:
    """One model; remembers when it was woken and put to sleep, in hours of that Monday."""

    url = "http://127.0.0.1:1"

    def __init__(self, day: Day) -> None:
        self.day = day
        self.up = False
        self.told: list[tuple[str, float]] = []
        self.breaks = False
        self.takes_s = 1.0

    async def available(self, model: str, resident: bool) -> bool:
        return self.up

    async def slots(self, model: str) -> int | None:
        return None

    async def wake(self) -> None:
        self.told.append(("wake", self.day.hour))
        await asyncio.sleep(self.takes_s)
        if self.breaks:
            raise RuntimeError("no power")
        self.up = True

    async def sleep(self) -> None:
        self.told.append(("sleep", self.day.hour))
        self.up = False


class Day:
    """A publisher's endpoints, from some hour of the Monday on."""

    def __init__(self, hour: float) -> None:
        self._began = MONDAY + hour * HOUR - asyncio.get_running_loop().time()
        self.group = Group("gpu0")
        self.endpoints: list[Endpoint] = []
        self.prewarm = Prewarm(lambda: self.endpoints, 1.0, 60.0, clock=asyncio.get_running_loop().time)
        self.idle = Idle(lambda: self.endpoints)

    def now(self) -> float:
        return self._began + asyncio.get_running_loop().time()

    @property
    def hour(self) -> float:
        return round((self.now() - MONDAY) / HOUR, 2)

    def model(self, name: str, begins: int = 8, ends: int = 18, *, awake: bool = False, group: bool = False,
              hours: bool = True, idle_s: float | None = 600.0) -> Endpoint:
        server = Server(self)
        server.up = awake
        times = (WarmHours(frozenset(range(7)), begins * 60, ends * 60, "Europe/Berlin"),) if hours else ()
        provider = Provider(
            name, server.url, name, wake=RECIPE, sleep=RECIPE, idle_s=idle_s, warm_hours=times,
            group="gpu0" if group else None,
        )

        def power(endpoint: Endpoint) -> Power:
            async def agree() -> bool:
                return True

            return Power(
                name, Ways(server.wake, server.sleep, endpoint.available), Limits(60.0, 0.0, 0.1, 10.0, 1.0),
                busy=lambda: endpoint.working > 0, agree=agree, beat=lambda: None, changed=lambda: endpoint.moved(),
                activity=Activity(), group=self.group if group else None, clock=asyncio.get_running_loop().time,
            )

        endpoint = Endpoint(provider, server, Slots(), power)
        endpoint.hours = Hours(times, self.now)
        endpoint.power.seen(awake)
        self.endpoints.append(endpoint)
        return endpoint

    def machine_sleeps(self, hours: float) -> None:
        """Nothing runs, and then it is later."""
        self._began += hours * HOUR

    async def until(self, hour: float) -> None:
        await asyncio.sleep(MONDAY + hour * HOUR - self.now())

    @contextlib.asynccontextmanager
    async def goes_on(self):
        loops = [asyncio.create_task(self.prewarm.run()), asyncio.create_task(self.idle.run())]
        try:
            yield self
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)


def told(endpoint: Endpoint) -> list[tuple[str, float]]:
    return endpoint.backend.told


def virtually(test):
    def run():
        run_virtually(test())

    run.__name__ = test.__name__
    return run


@virtually
async def test_it_is_woken_when_its_hours_begin_and_sleeps_after_they_end():
    day = Day(7)
    model = day.model("a")
    async with day.goes_on():
        await day.until(17.9)
        assert told(model) == [("wake", 8.0)]
        assert 350 <= sleeps_in_s(model) <= 360, "it may sleep when its hours end"
        await day.until(20)
        assert told(model) == [("wake", 8.0), ("sleep", 18.0)]
        await day.until(24 + 9)
        assert told(model)[2:] == [("wake", 32.0)], "and so the next day"


@virtually
async def test_work_at_the_end_of_its_hours_is_given_its_idle_time():
    day = Day(7)
    model = day.model("a")
    async with day.goes_on():
        await day.until(17.99)
        model.begin()
        await day.until(18.5)
        model.end()
        await day.until(20)
        assert told(model)[1:] == [("sleep", 18.67)]


@virtually
async def test_a_publisher_that_starts_in_the_middle_of_its_hours_wakes_it():
    day = Day(12)
    model, other = day.model("a"), day.model("b", 20, 22)
    async with day.goes_on():
        await day.until(12.1)
        assert told(model) == [("wake", 12.0)] and told(other) == []


@virtually
async def test_one_that_is_awake_already_is_left_alone():
    day = Day(7)
    model = day.model("a", awake=True, idle_s=None)
    async with day.goes_on():
        await day.until(12)
        assert told(model) == [] and sleeps_in_s(model) is None


@virtually
async def test_a_wake_that_fails_is_tried_again_a_minute_later():
    day = Day(7.99)
    model = day.model("a")
    model.backend.breaks = True
    async with day.goes_on():
        await day.until(8.03)
        assert len(told(model)) == 2
        model.backend.breaks = False
        await day.until(8.1)
        assert model.power.state is State.AWAKE and len(told(model)) == 3


@virtually
async def test_one_that_dies_in_its_hours_is_woken_again():
    day = Day(12)
    model = day.model("a")
    async with day.goes_on():
        await day.until(13)
        model.backend.up = False
        model.power.seen(False)
        await day.until(13.1)
        assert [what for what, _ in told(model)] == ["wake", "wake"] and model.power.state is State.AWAKE


@virtually
async def test_one_that_was_put_to_sleep_by_hand_stays_so_until_somebody_asks_or_the_next_hours_begin():
    day = Day(9)
    asked, left = day.model("a"), day.model("b")
    async with day.goes_on():
        await day.until(10)
        for one in (asked, left):
            await one.power.down(by_hand=True)
        await day.until(11)
        assert asked.power.state is left.power.state is State.ASLEEP
        await asked.power.up()
        asked.backend.up = False
        asked.power.seen(False)
        await day.until(12)
        assert asked.power.state is State.AWAKE, "it was asked for: from then on its hours count again"
        assert left.power.state is State.ASLEEP
        await day.until(32.1)
        assert left.power.state is State.AWAKE


@virtually
async def test_at_the_beginning_of_its_hours_it_takes_the_place_of_an_idle_mate():
    day = Day(7)
    mate, model = day.model("mate", hours=False, awake=True, group=True, idle_s=None), day.model("a", group=True)
    async with day.goes_on():
        await day.until(8.1)
        assert told(mate) == [("sleep", 8.0)] and model.power.state is State.AWAKE


@virtually
async def test_within_its_hours_a_mate_that_is_asked_for_takes_its_place_until_that_sleeps():
    day = Day(9)
    mate, model = day.model("mate", hours=False, group=True), day.model("a", group=True)
    async with day.goes_on():
        await day.until(9.1)
        assert model.power.state is State.AWAKE
        await mate.power.up()
        assert mate.power.state is State.AWAKE and model.power.state is State.ASLEEP
        await day.until(9.2)
        assert model.power.state is State.ASLEEP, "it does not push the mate out again"
        await day.until(9.5)
        assert told(mate)[-1][0] == "sleep" and model.power.state is State.AWAKE, "the mate had no work for its ten minutes"


@virtually
async def test_of_two_mates_whose_hours_are_the_same_one_is_woken_and_stays():
    for start in (7, 9):
        day = Day(start)
        one, other = day.model("a", group=True), day.model("b", group=True)
        async with day.goes_on():
            await day.until(17)
            assert len(told(one)) == 1 and told(other) == []


@virtually
async def test_one_that_was_awake_before_its_hours_does_not_push_out_a_mate_in_the_middle_of_them():
    day = Day(7)
    mate, model = day.model("mate", hours=False, group=True, idle_s=None), day.model("a", awake=True, group=True, idle_s=None)
    async with day.goes_on():
        await day.until(9)
        await mate.power.up()
        await day.until(12)
        assert mate.power.state is State.AWAKE and told(mate) == [("wake", 9.0)] and told(model) == [("sleep", 9.0)]


@virtually
async def test_a_beginning_that_a_mate_s_own_hours_kept_waiting_is_made_up_for_when_those_end():
    day = Day(7.5)
    mate, model = day.model("mate", 7, 9, group=True, idle_s=None), day.model("a", group=True)
    async with day.goes_on():
        await day.until(8.5)
        assert told(model) == []
        await day.until(9.1)
        assert [what for what, _ in told(model)] == ["wake"] and told(mate)[-1] == ("sleep", 9.0)


@virtually
async def test_hours_that_begin_while_the_machine_sleeps_are_others_than_those_before():
    day = Day(9)
    model = day.model("a")
    async with day.goes_on():
        await day.until(10)
        await model.power.down(by_hand=True)
        day.machine_sleeps(23)
        await day.until(33.1)
        assert model.power.state is State.AWAKE, "that was for the hours of yesterday"


@virtually
async def test_a_clock_that_is_set_a_little_within_the_hours_does_not_begin_them_anew():
    day = Day(9)
    model = day.model("a")
    async with day.goes_on():
        await day.until(10)
        await model.power.down(by_hand=True)
        for hours in (1, -1.5):
            day.machine_sleeps(hours)
            await day.until(day.hour + 0.1)
        assert model.power.state is State.ASLEEP


@virtually
async def test_one_that_is_told_to_sleep_while_it_sleeps_is_not_woken_by_its_hours():
    day = Day(7.99)
    model = day.model("a")
    model.backend.breaks = True
    async with day.goes_on():
        await day.until(8.01)
        assert len(told(model)) == 1
        await model.power.down(by_hand=True)
        await day.until(9)
        assert len(told(model)) == 1, "a wake that failed is not tried again"


@virtually
async def test_a_wake_that_takes_its_time_to_fail_is_tried_again_a_minute_after_that():
    day = Day(7.99)
    model = day.model("a")
    model.backend.takes_s, model.backend.breaks = 600.0, True
    async with day.goes_on():
        await day.until(8.17)
        assert len(told(model)) == 1
        await day.until(8.2)
        assert [hour for _, hour in told(model)] == [8.0, 8.18]
