"""``broker check``: what Redis this is, what is promised, what is wrong."""

from __future__ import annotations

import json

from tests.support import commands
from tests.support.places import FakePlace


async def test_check_tells_which_redis_and_which_durability(redis_real):
    ended = await commands.broker(redis_real, "check", "--json")
    report = json.loads(ended.out)
    assert report["server"].startswith(("Valkey", "Redis")) and report["mode"] == "single"
    assert "survives" in report["promise"]
    assert {"severity", "text", "remedy"} == set(report["findings"][0])
    assert ended.code == (1 if report["severity"] == "error" else 0), ended.err


async def test_check_says_how_to_mend_a_redis_that_does_not_answer():
    nowhere = FakePlace()
    nowhere.url = "redis://:secret@127.0.0.1:1"
    ended = await commands.broker(nowhere, "check")
    assert ended.code == 1 and not ended.out
    assert "127.0.0.1:1" in ended.err and "mend REDIS_URL" in ended.err
    assert "secret" not in ended.err and "Traceback" not in ended.err
