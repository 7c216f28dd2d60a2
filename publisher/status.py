"""What a running publisher says of itself: to ``publisher status``, and to the live view.

Plain values, JSON in camelCase. No token, no key and no content of a request is ever in them.
"""

from __future__ import annotations

import msgspec


class BrokerStatus(msgspec.Struct, rename="camel"):
    """One broker. ``state``: connecting · registering · open (its channel is) · refused · closed."""

    url: str
    state: str
    session: str | None = None
    since_s: float = 0.0  # in this state
    last_error: str = ""
    last_error_ago_s: float | None = None


class RowStatus(msgspec.Struct, rename="camel"):
    """One published LLM. ``state``: active · draining · in line · waking · falling asleep · hibernating · unreachable."""

    name: str
    model: str
    type: str
    url: str
    state: str
    slots: int
    running: int = 0  # at the backend
    waiting: int = 0  # for a slot here
    requests: int = 0  # ended since the start
    failed: int = 0
    tokens: int = 0  # generated, since the start
    tokens_per_s: float = 0.0  # of the streams that run now
    state_since_s: float = 0.0
    sleeps_in_s: float | None = None  # None: not by itself, or not now
    wakes: bool = False  # has a wake recipe
    warm: bool = False  # its warm hours are now
    warm_changes_in_s: float | None = None  # None: it has none, or they never end
    group: str | None = None
    aliases: list[str] = []
    last_error: str = ""
    last_error_ago_s: float | None = None
    log_file: str | None = None  # of the process that its recipe runs


class Status(msgspec.Struct, rename="camel"):
    """The whole publisher. ``config``: the file's path, or empty."""

    version: str
    pid: int
    up_s: float
    config: str = ""
    config_error: str = ""  # of the last edit, while the one before stays in force
    memory_bytes: int = 0
    brokers: list[BrokerStatus] = []
    rows: list[RowStatus] = []
