"""How one endpoint is shown: what a person wants to know of it, in one value."""

from __future__ import annotations

import math
import time

from publisher.activity import Tally
from publisher.power.idle import sleeps_in_s
from publisher.power.power import Power
from publisher.power.ways import State
from publisher.published.endpoint import Endpoint
from publisher.status import RowStatus


def row_status(endpoint: Endpoint, tally: Tally, tokens_per_s: float) -> RowStatus:
    provider, power = endpoint.provider, endpoint.power
    unreachable = power.state is State.AWAKE and not endpoint.up
    now = time.monotonic()
    warm_s = endpoint.hours.left_s
    return RowStatus(
        name=endpoint.name, model=provider.model, type=provider.type, url=endpoint.backend.url,
        state="unreachable" if unreachable else _state(power),
        slots=endpoint.slots.limit, running=endpoint.slots.running, waiting=endpoint.slots.waiting,
        requests=tally.requests, failed=tally.failed, tokens=tally.tokens,
        tokens_per_s=tokens_per_s,
        state_since_s=now - power.since, sleeps_in_s=sleeps_in_s(endpoint), wakes=power.can_wake,
        warm=warm_s > 0, warm_changes_in_s=(warm_s if warm_s < math.inf else None) if warm_s else endpoint.hours.begin_in_s,
        group=provider.group, aliases=list(provider.aliases or ()),
        last_error=tally.last_error, last_error_ago_s=now - tally.last_error_at if tally.last_error_at else None,
        log_file=endpoint.log_file,
    )


def _state(power: Power) -> str:
    if power.in_line:
        return "in line"
    return "draining" if power.draining and power.state is State.AWAKE else power.state.value
