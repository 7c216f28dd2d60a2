"""Two publishers with one session file, at a real broker: one of them goes on, the other says why it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

from publisher.config.values import BrokerAddress, Config, Provider
from publisher.life import Publisher
from publisher.link.session import SessionFile
from tests.publisher.running import SHORT
from tests.support.backend import Backend
from tests.support.brokers import replica
from tests.support.places import FakePlace


def publisher(broker_url: str, backend_url: str, file: Path) -> Publisher:
    config = Config((BrokerAddress(broker_url),), (Provider("m", backend_url, model="real", slots=4),))
    return Publisher(config, lambda _: SessionFile(file), SHORT)


async def test_the_later_of_two_with_one_session_file_goes_on_and_the_earlier_stops_and_says_why(tmp_path, log_lines):
    file = tmp_path / "session.json"
    async with Backend() as backend, replica(FakePlace()) as broker:
        earlier, later = (publisher(broker.url, backend.url, file) for _ in range(2))
        first = asyncio.create_task(earlier.run())
        row = await _open(broker)
        second = asyncio.create_task(later.run())
        async with asyncio.timeout(20):
            assert await first == 3
        again = await _open(broker)
        assert again["id"] == row["id"] and again["providerSessionId"] == row["providerSessionId"]
        assert (await broker.chat("m"))[0] == 200
        assert not second.done()
        later.stop()
        assert await second == 0

    (said,) = [line for line in log_lines if "another publisher uses this session" in line]
    assert "session.json" in said


async def test_of_two_that_start_at_once_one_goes_on(tmp_path, log_lines):
    file = tmp_path / "session.json"
    async with Backend() as backend, replica(FakePlace()) as broker:
        both = [publisher(broker.url, backend.url, file) for _ in range(2)]
        runs = [asyncio.create_task(one.run()) for one in both]
        async with asyncio.timeout(20):
            done, (left,) = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
        assert all(run.result() in (1, 3) for run in done)
        await _open(broker)
        assert (await broker.chat("m"))[0] == 200
        both[runs.index(left)].stop()
        assert await left == 0

    assert len([line for line in log_lines if "error: " in line]) == 1


async def _open(broker) -> dict:
    async with asyncio.timeout(20):
        while True:
            status, row, _ = await broker.call("GET", "/api/v1/llms/m")
            if status == 200 and row["channel"]:
                return row
            await asyncio.sleep(0.01)
