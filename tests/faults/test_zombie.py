"""A replica that stops for a while, is taken for dead, and comes back to find its work given away."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.balancer import balancer
from tests.support.live import Stream, error, word
from tests.support.processes import client


@pytest.mark.limit_s(90)
async def test_a_replica_that_stood_still_for_8_s_ends_its_own_streams_and_harms_no_others(own_stage):
    stage = own_stage
    settings = {"replica_ttl_seconds": 1, "reconnect_grace_seconds": 0.5, "queue_wait_seconds": 2}
    zombie, other, backend = await asyncio.gather(
        stage.broker(**settings).ready(), stage.broker(**settings).ready(), stage.backend().ready()
    )
    async with balancer(zombie.url) as front, client(zombie.url) as api_1, client(other.url) as api_2:
        # One publisher has its channel at the zombie, one at the replica that lives.
        await asyncio.gather(
            stage.publisher(front, {"name": "there", "url": backend.url, "slots": 4}).ready(),
            stage.publisher(other.url, {"name": "here", "url": backend.url, "slots": 4}).ready(),
        )
        slow = {"tokens": 200, "delay_s": 0.05}
        async with (
            Stream(api_1, "here", script={**slow, "words": "one-"}) as doomed,
            Stream(api_2, "here", script={**slow, "words": "two-"}) as living,
        ):
            assert word(await doomed.next()) == "one-0 " and word(await living.next()) == "two-0 "
            zombie.freeze()
            frozen_at = time.monotonic()
            # The publisher at the zombie is given up after a bounded time …
            async with asyncio.timeout(10):
                while (await api_2.chat("there"))[1].get("error", {}).get("code") != "publisher_offline":
                    await asyncio.sleep(0.1)
            # … and the other one serves on.
            while time.monotonic() - frozen_at < 8:
                assert (await api_2.chat("here"))[0] == 200
                await asyncio.sleep(0.2)
            zombie.thaw()
            payloads = await doomed.rest(5)
            assert error(payloads[-1])["status"] == 503, payloads[-1]
            assert [word(p) for p in payloads[:-1]] == [f"one-{n} " for n in range(1, len(payloads))]
            payloads = await living.rest(10)
            assert [word(p) for p in payloads[:-1]] == [f"two-{n} " for n in range(1, 200)]
            assert payloads[-1] == "[DONE]"
        async with asyncio.timeout(10):
            while (await api_2.chat("there"))[0] != 200 or (await api_1.chat("here"))[0] != 200:
                await asyncio.sleep(0.1)
