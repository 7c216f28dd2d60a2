"""A real engine behind the same story; only where scripts/engine-llamacpp was run before."""

from __future__ import annotations

import pytest

from tests.scripts.running import SET_UP_S, script, scripts
from tests.support.processes import ROOT

pytestmark = [
    pytest.mark.timeout(SET_UP_S),
    pytest.mark.limit_s(60),
    pytest.mark.skipif(
        not (ROOT / ".venv-engines" / "set-up-for-engines").exists(),
        reason="an optional extra: scripts/engine-llamacpp sets it up",
    ),
]


async def test_llama_cpp_is_woken_and_answers(tmp_path):
    with scripts(tmp_path) as stage:
        run = script(stage, "engine-llamacpp", "--once")
        assert await run.ended(50) == 0, run.log()
        assert "active: the request woke it" in run.log()
