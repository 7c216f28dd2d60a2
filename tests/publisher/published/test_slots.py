"""Slots: never more at once, first come first served, more or fewer while requests run."""

import asyncio

from publisher.published.slots import Slots
from tests.publisher.running import play
from tests.support.waiting import eventually


class Guests:
    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.inside: list[int] = []
        self.came: list[int] = []
        self._may_go: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task] = {}

    async def come(self, *numbers: int) -> None:
        for number in numbers:
            self._may_go[number] = asyncio.Event()
            self.tasks[number] = asyncio.create_task(self._stay(number))
            await asyncio.sleep(0)

    def go(self, number: int) -> None:
        self._may_go[number].set()

    async def all_gone(self) -> None:
        for may_go in self._may_go.values():
            may_go.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def _stay(self, number: int) -> None:
        async with self.slots:
            self.came.append(number)
            self.inside.append(number)
            await self._may_go[number].wait()
            self.inside.remove(number)


def test_requests_beyond_the_slots_wait_in_the_order_of_arrival():
    async def test():
        guests = Guests(Slots(2))
        await guests.come(1, 2, 3, 4)
        assert guests.inside == [1, 2] and (guests.slots.running, guests.slots.waiting) == (2, 2)
        guests.go(2)
        await eventually(lambda: guests.inside == [1, 3])
        await guests.all_gone()
        assert guests.came == [1, 2, 3, 4] and guests.slots.running == 0

    play(test())


def test_one_that_leaves_the_line_gives_its_place_to_the_next():
    async def test():
        guests = Guests(Slots(1))
        await guests.come(1, 2, 3)
        guests.tasks[2].cancel()
        guests.go(1)
        await eventually(lambda: guests.inside == [3])
        await guests.all_gone()
        assert guests.slots.running == 0

    play(test())


def test_one_that_leaves_as_it_is_let_in_loses_no_slot():
    async def test():
        guests = Guests(Slots(1))
        await guests.come(1, 2, 3)
        guests.go(1)
        await asyncio.sleep(0)  # 1 is gone and 2 let in, but has not run yet
        guests.tasks[2].cancel()
        await eventually(lambda: guests.inside == [3])
        await guests.all_gone()
        assert guests.slots.running == 0 and guests.came == [1, 3]

    play(test())


def test_more_slots_let_in_at_once_and_fewer_as_requests_end():
    async def test():
        guests = Guests(Slots(1))
        await guests.come(1, 2, 3, 4)
        guests.slots.resize(3)
        await eventually(lambda: guests.inside == [1, 2, 3])
        guests.slots.resize(1)
        guests.go(1)
        guests.go(2)
        await eventually(lambda: guests.inside == [3])
        guests.go(3)
        await eventually(lambda: guests.inside == [4])
        await guests.all_gone()

    play(test())
