"""Looks that come late or break: an old answer changes nothing, and no backend ends the watch over the others."""

from __future__ import annotations

import asyncio

from publisher.activity import Activity
from publisher.config.values import Provider
from publisher.power.power import Power
from publisher.power.watch import Watch
from publisher.power.ways import Limits, State, Ways
from publisher.published.endpoint import Endpoint
from publisher.published.slots import Slots
from tests.publisher.running import play
from tests.support.waiting import eventually


class Server:
    """A backend whose answers are given by the test."""

    url = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.answers: list[asyncio.Future] = []
        self.asked_for_slots = 0
        self.up = True

    async def available(self, model: str, resident: bool) -> bool:
        if not self.answers:
            return self.up
        return await self.answers.pop(0)

    async def slots(self, model: str) -> int | None:
        self.asked_for_slots += 1
        raise ValueError("nonsense")


def endpoint(server: Server) -> Endpoint:
    async def wake() -> None:
        server.up = True

    async def sleep() -> None:
        server.up = False

    async def agree() -> bool:
        return True

    def power(of: Endpoint) -> Power:
        return Power(
            "m", Ways(wake, sleep, of.available), Limits(1.0, 0.0, poll_s=0.01, settle_s=1.0, canary_s=1.0),
            busy=lambda: False, agree=agree, beat=lambda: None, changed=of.moved, activity=Activity(),
        )

    return Endpoint(Provider("m", server.url, "m"), server, Slots(), power)


def test_a_look_that_began_before_a_sleep_does_not_bring_it_back():
    async def test():
        server = Server()
        one = endpoint(server)
        late = asyncio.get_running_loop().create_future()
        server.answers = [late]
        looking = asyncio.create_task(one.look())
        await asyncio.sleep(0)
        await one.power.down()
        late.set_result(True)
        await looking
        assert one.power.state is State.ASLEEP

    play(test())


def test_a_backend_that_breaks_when_asked_for_its_slots_does_not_end_the_watch(caplog):
    async def test():
        server = Server()
        one = endpoint(server)
        watch = Watch(lambda: [one], lambda endpoint: None, lambda: None, 0.01)
        running = asyncio.create_task(watch.run())
        await eventually(lambda: server.asked_for_slots >= 3)
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])

    play(test())
    assert "could not be asked for its slots" in caplog.text
