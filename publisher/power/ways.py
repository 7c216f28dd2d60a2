"""What waking and sleeping come down to for one endpoint: states, ways, limits. Values, nothing is done here."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


class State(enum.Enum):
    AWAKE = "active"
    WAKING = "waking"
    FALLING = "falling asleep"
    ASLEEP = "hibernating"


@dataclass(frozen=True, slots=True)
class Ways:
    """What one endpoint's recipes and looks come down to. ``wake`` or ``sleep`` is ``None`` without a recipe."""

    wake: Callable[[], Awaitable[None]] | None
    sleep: Callable[[], Awaitable[None]] | None
    available: Callable[[], Awaitable[bool]]
    canary: Callable[[float], Awaitable[None]] | None = None
    died: Callable[[], str | None] = lambda: None  # why the process that the recipe runs is no more
    give_up: Callable[[], Awaitable[None]] | None = None  # after a wake that failed: leaves nothing half started


@dataclass(frozen=True, slots=True)
class Limits:
    max_wait_s: float
    min_awake_s: float
    poll_s: float
    settle_s: float
    canary_s: float
    group_wait_s: float = 60.0
