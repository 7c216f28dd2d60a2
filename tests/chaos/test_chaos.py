"""A short run of chaos; ``scripts/chaos`` makes long ones."""

from __future__ import annotations

import pytest

from tests.chaos.history import OK
from tests.chaos.run import chaos, report
from tests.support import processes
from tests.support.places import ServerPlace
from tests.support.server import single_server


@pytest.fixture
def redis(tmp_path):
    with single_server(tmp_path, "--appendfsync", "always", tcp=True) as server:
        yield server


@pytest.fixture
def stage(redis, tmp_path):
    with processes.stage(tmp_path, ServerPlace(redis)) as made:
        yield made


@pytest.mark.timeout(160)
@pytest.mark.limit_s(150)
async def test_whoever_dies_every_request_and_task_ends_once_with_one_answer_of_its_own(redis, stage, tmp_path):
    history, wrong = await chaos(stage, redis, ServerPlace(redis), seconds=9, clients=6, seed=20)
    print(report(history, wrong, tmp_path))
    assert not wrong
    assert len(history.deaths) >= 3 and history.tasks
    assert sum(one.ended_how == OK for one in history.asked) > 20
