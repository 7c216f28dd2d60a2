"""The step ``wait``: asks an address again and again until it answers with anything below 500.

A redirect is an answer and is not followed. What is asked for is never read.
"""

from __future__ import annotations

import asyncio
import time

import aiohttp

from publisher.config.values import WaitFor
from publisher.failures import RecipeFailed
from publisher.reason import reason
from publisher.recipes.http import shown

ONE_TRY_S = 5.0


async def wait_for(step: WaitFor, http: aiohttp.ClientSession, *, poll_s: float = 1.0) -> None:
    until = time.monotonic() + step.timeout_s
    while True:
        left_s = until - time.monotonic()
        fault = await _fault(step.url, http, min(ONE_TRY_S, max(left_s, 0.1)))
        if fault is None:
            return
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise RecipeFailed(f"{shown(step.url)} was not there within {step.timeout_s:g} s ({fault})")
        await asyncio.sleep(min(poll_s, left_s))


async def _fault(url: str, http: aiohttp.ClientSession, timeout_s: float) -> str | None:
    try:
        async with http.get(
            url, timeout=aiohttp.ClientTimeout(total=timeout_s), allow_redirects=False
        ) as answer:
            return None if answer.status < 500 else f"it answered {answer.status}"
    except (ValueError, aiohttp.NonHttpUrlClientError):  # its text may quote the URL; waiting would not mend it
        raise RecipeFailed(f"{shown(url)} cannot be asked: check its url") from None
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as err:
        return reason(err)
