"""A stage of real processes on the real server."""

from __future__ import annotations

import pytest

from tests.support import processes


@pytest.fixture
def stage(redis_real, tmp_path):
    with processes.stage(tmp_path, redis_real) as made:
        yield made
