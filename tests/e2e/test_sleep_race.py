"""A short sleep race with real processes; ``scripts/sleep-race`` runs long ones."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from scripts.racing.__main__ import report, stage_in
from scripts.racing.race import race


@pytest.fixture
def stages(request, real_server, tmp_path):
    with ExitStack() as stack:
        yield [stack.enter_context(stage_in(tmp_path / f"broker-{n}", real_server)) for n in range(request.param)]


@pytest.mark.limit_s(90)
@pytest.mark.parametrize("stages", [1, 2], indirect=True, ids=["one broker", "two brokers"])
async def test_requests_that_meet_a_model_falling_asleep_are_all_answered_once_and_no_engine_is_asked_while_it_sleeps(stages):
    outcome = await race(stages, requests=400, rows=12, seed=12, say=print)
    print(report(outcome))
    assert not outcome.wrong
    assert outcome.insults == 0
    assert outcome.sleeps > 40 and outcome.wakes > 40, "the race did not reach what it is about"
