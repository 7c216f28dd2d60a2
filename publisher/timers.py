"""How long everything in a publisher takes, in seconds.

The only place with such numbers; ``life.py`` hands each part its own, and tests
make them short. No part ever sees the whole.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timers:
    """How long everything takes; tests make it short."""

    accept_after_s: float = 1.0
    availability_s: float = 5.0
    models_s: float = 3.0
    prewarm_s: float = 1.0
    prewarm_retry_s: float = 60.0
    check_timeout_s: float = 5.0
    wake_poll_s: float = 1.5
    process_poll_s: float = 0.25
    settle_s: float = 30.0
    canary_s: float = 60.0
    tool_start_s: float = 120.0
    retry_first_s: float = 1.0
    retry_most_s: float = 30.0
    working_retry_s: float = 2.0
    results_retry_first_s: float = 0.1
    results_retry_most_s: float = 2.0
    slow_retry_s: float = 30.0
    silence_s: float = 45.0
    call_timeout_s: float = 30.0
    drain_s: float = 30.0
    last_words_s: float = 1.0
