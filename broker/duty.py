"""What a replica does over and over while it lives. An outage of Redis, or a bug, ends no duty."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from broker.errors import StoreUnavailable

log = logging.getLogger(__name__)


async def every(seconds: float, duty: Callable[[], Awaitable[object]]) -> None:
    """Never returns."""
    while True:
        try:
            await duty()
        except StoreUnavailable:
            log.debug("Redis is away")
        except Exception:
            # A duty that ends would end silently for all that comes later.
            log.exception("bug", extra={"duty": duty.__name__})
        await asyncio.sleep(seconds)
