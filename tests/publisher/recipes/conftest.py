"""What the tests of recipes share: programs to run, and both event loops to run them on."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
import uvloop

LIMIT_S = 60


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def play(request):
    """Runs one coroutine on either loop, and fails when a task is left behind."""

    async def alone(test):
        async with asyncio.timeout(LIMIT_S):
            await test
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f"left running: {left}"

    def run(test):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(alone(test))

    return run


@pytest.fixture
def http():
    """``async with http() as session``."""

    @contextlib.asynccontextmanager
    async def opened():
        async with aiohttp.ClientSession() as session:
            yield session

    return opened
