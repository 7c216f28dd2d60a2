"""How one endpoint is shown: what a person wants to know of it, in one value."""

from __future__ import annotations

import time

from publisher.activity import Tally
from publisher.power.idle import sleeps_in_s
from publisher.power.ways import State
from publisher.published.endpoint import Endpoint
from publisher.status import RowStatus


def row_status(endpoint: Endpoint, tally: Tally, tokens_per_s: float) -> RowStatus:
    provider, power = endpoint.provider, endpoint.power
    unreachable = power.state is State.AWAKE and not endpoint.up
    now = time.monotonic()
    return RowStatus(
        name=endpoint.name, model=provider.model, type=provider.type, url=endpoint.backend.url,
        state="unreachable" if unreachable else power.state.value,
        slots=endpoint.slots.limit, running=endpoint.slots.running, waiting=endpoint.slots.waiting,
        requests=tally.requests, failed=tally.failed, tokens=tally.tokens,
        tokens_per_s=tokens_per_s,
        state_since_s=now - power.since, sleeps_in_s=sleeps_in_s(endpoint), wakes=power.can_wake,
        group=provider.group, aliases=list(provider.aliases or ()),
        last_error=tally.last_error, last_error_ago_s=now - tally.last_error_at if tally.last_error_at else None,
        log_file=endpoint.log_file,
    )
