"""Waiting for something to become true, within a limit. The only polling loop of the tests."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable

#: What a busy machine may add to a time that the contract gives.
BUSY_S = 2.0


async def eventually(holds: Callable[[], object], limit_s: float = 20.0) -> object:
    """The first true value of ``holds``, which may be a coroutine function."""
    last = None
    until = asyncio.get_running_loop().time() + limit_s
    try:
        async with asyncio.timeout_at(until):
            # The clock is asked as well: asyncio's own ``wait_for`` of Python 3.11, which redis uses, can lose a cancel.
            while asyncio.get_running_loop().time() < until:
                last = holds()
                if inspect.isawaitable(last):
                    last = await last
                if last:
                    return last
                await asyncio.sleep(0.01)
            raise TimeoutError
    except TimeoutError:
        raise AssertionError(f"waited {limit_s:g} s; it is still {last!r}") from None
