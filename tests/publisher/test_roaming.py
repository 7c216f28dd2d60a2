"""What counts as a move, with clocks and networks that the test drives."""

import asyncio
import socket
import sys

import pytest

from publisher.link import roaming
from publisher.link.roaming import Roaming, asleep_s, local_address, resolve


class World:
    """A machine: how long it slept, which networks lead where. ``looked`` counts the looks at the address."""

    def __init__(self, own: str | None = "10.0.0.7"):
        self.slept_s = 1000.0
        self.own = own
        self.addresses: list[str] | OSError = ["192.0.2.1"]
        self.answers = asyncio.Event()  # whether names are resolved at all
        self.answers.set()
        self.asked: list[tuple[str, int]] = []
        self.looked = 0
        self.moves: list[str] = []
        self._changed = asyncio.Condition()

    def asleep_s(self) -> float:
        return self.slept_s

    async def resolve(self, host: str, port: int):
        self.asked.append((host, port))
        await self.answers.wait()
        if isinstance(self.addresses, Exception):
            raise self.addresses
        return [(socket.AF_INET, (address, port)) for address in self.addresses]

    def local_address(self, target) -> str | None:
        self.looked += 1
        return self.own.get(target[1][0]) if isinstance(self.own, dict) else self.own

    async def after_looks(self, count: int = 3) -> None:
        """Lets it look so many times more."""
        until = self.looked + count
        async with asyncio.timeout(20):
            while self.looked < until:
                await asyncio.sleep(0)

    async def after_moves(self, count: int) -> list[str]:
        async with asyncio.timeout(20):
            while len(self.moves) < count:
                await asyncio.sleep(0)
        await self.after_looks()
        return self.moves

    async def __aenter__(self) -> "World":
        watching = Roaming("broker.test", 443, 0, self.asleep_s, self.resolve, self.local_address, resolve_s=0.01)
        self._running = asyncio.create_task(watching.run(self.moves.append))
        return self

    async def __aexit__(self, *_) -> None:
        assert not self._running.done(), self._running
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left


async def test_a_quiet_life_is_no_move_and_resolves_once():
    async with World() as world:
        await world.after_looks(20)
        assert world.moves == [] and world.asked == [("broker.test", 443)]


async def test_a_sleep_is_told_once_with_its_length():
    async with World() as world:
        await world.after_looks()
        world.slept_s += 3600
        assert await world.after_moves(1) == ["the machine slept for 3600 s"]


async def test_a_nap_is_no_move_and_naps_do_not_add_up():
    async with World() as world:
        for _ in range(10):
            await world.after_looks()
            world.slept_s += 4
        await world.after_looks()
        assert world.moves == []


async def test_a_clock_that_goes_back_is_no_move():
    async with World() as world:
        await world.after_looks()
        world.slept_s -= 3600
        await world.after_looks()
        assert world.moves == []


async def test_another_own_address_is_a_move_and_the_name_is_asked_anew():
    async with World() as world:
        await world.after_looks()
        world.own = "172.16.0.9"
        assert await world.after_moves(1) == ["the network has changed"]
        world.own = "10.0.0.7"
        assert await world.after_moves(2) == ["the network has changed"] * 2
        assert len(world.asked) == 3


async def test_a_lost_network_is_told_when_it_is_back_even_with_the_same_address():
    async with World() as world:
        await world.after_looks()
        world.own = None
        await world.after_looks()
        assert world.moves == []
        world.own = "10.0.0.7"
        assert await world.after_moves(1) == ["the network is there"]


async def test_a_machine_that_starts_without_a_network_is_told_when_there_is_one():
    async with World(own=None) as world:
        await world.after_looks()
        world.own = "10.0.0.7"
        assert await world.after_moves(1) == ["the network is there"]


async def test_sleep_and_another_network_at_once_are_one_move():
    async with World() as world:
        await world.after_looks()
        world.own = "172.16.0.9"
        world.slept_s += 60
        assert await world.after_moves(1) == ["the machine slept for 60 s"]


async def test_an_answer_in_another_order_after_a_move_is_not_the_next_move():
    async with World() as world:
        world.addresses = ["192.0.2.1", "192.0.2.2"]
        world.own = {"192.0.2.1": "10.0.0.7", "192.0.2.2": "10.1.1.1"}
        await world.after_looks()
        world.addresses = ["192.0.2.2", "192.0.2.1"]
        world.slept_s += 60
        assert await world.after_moves(1) == ["the machine slept for 60 s"]


async def test_the_first_address_that_can_be_reached_counts():
    async with World(own={"192.0.2.2": "10.0.0.7"}) as world:
        world.addresses = ["192.0.2.1", "192.0.2.2"]
        await world.after_looks()
        world.own = {"192.0.2.2": "172.16.0.9"}
        assert await world.after_moves(1) == ["the network has changed"]


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "no such name"), OSError("broken"), UnicodeError("too long")])
async def test_a_name_that_does_not_resolve_is_asked_again_until_it_does(failure):
    world = World()
    world.addresses = failure
    async with world:
        async with asyncio.timeout(20):
            while len(world.asked) < 5:
                await asyncio.sleep(0)
        assert world.moves == []
        world.addresses = ["192.0.2.1"]
        assert await world.after_moves(1) == ["the network is there"]


async def test_a_resolver_that_hangs_is_asked_once_and_sleeps_are_still_noticed():
    world = World()
    world.answers.clear()
    async with world:
        while not world.asked:
            await asyncio.sleep(0)
        world.slept_s += 60
        async with asyncio.timeout(20):
            while not world.moves:
                await asyncio.sleep(0)
        assert world.moves == ["the machine slept for 60 s"] and len(world.asked) == 1
        world.answers.set()
        assert (await world.after_moves(2))[1] == "the network is there"


# ── the real ones ───────────────────────────────────────────────────────────


async def test_the_way_to_this_machine_is_this_machine():
    target, *_ = await resolve("127.0.0.1", 9)
    assert local_address(target) == "127.0.0.1"


async def test_no_way_is_no_address():
    assert local_address((socket.AF_INET6, ("2001:db8::1%no", 9))) is None
    assert local_address((socket.AF_INET, ("255.255.255.255", 9))) is None  # not permitted


async def test_looking_sends_nothing():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        assert local_address((socket.AF_INET, peer.getsockname())) == "127.0.0.1"
        with pytest.raises(BlockingIOError):
            peer.recv(1)


@pytest.mark.skipif(sys.platform not in ("linux", "darwin", "win32"), reason="this system has no such clock")
def test_while_awake_the_time_asleep_does_not_grow():
    before = asleep_s()
    sum(range(10**6))
    assert abs(asleep_s() - before) < 0.01


async def test_the_real_parts_fit_together():
    moves: list[str] = []
    running = asyncio.create_task(Roaming("localhost", 9, every_s=0.001).run(moves.append))
    done, _ = await asyncio.wait([running], timeout=0.1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not done and moves == [] and roaming.SLEPT_S == 5.0
