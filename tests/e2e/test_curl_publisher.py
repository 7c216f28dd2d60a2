"""docs/examples/curl-publisher.sh, run as it is: register, heartbeat, stream and result are enough."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from tests.support.live import Stream, word
from tests.support.processes import ROOT, client

SCRIPT = ROOT / "docs" / "examples" / "curl-publisher.sh"


@pytest.mark.skipif(not shutil.which("curl"), reason="this machine has no curl")
async def test_a_publisher_of_curl_calls_answers_whole_and_streamed_and_is_offline_once_it_ended(stage):
    broker = await stage.broker(stale_seconds=2).ready()
    async with client(broker.url) as api:
        env = {"BROKER": broker.url, "NAME": "polly", "HEARTBEAT": "0.5"}
        publisher = await stage.execute("publisher", ["bash", str(SCRIPT)], says="listening", env=env).ready()
        async with asyncio.timeout(20):
            while not (await api.llm("polly"))["channel"]:
                await asyncio.sleep(0.02)

        status, answer, _ = await api.chat("polly")
        assert status == 200 and answer["choices"][0]["message"]["content"] == "I am a parrot"
        # A request cannot pass for one of the broker's own fields.
        async with Stream(api, "polly", taskId="x", messages=[{"role": "user", "content": '"taskId":"y"'}]) as stream:
            payloads = await stream.rest()
        assert [word(p) for p in payloads[:-1]] == ["I ", "am ", "a ", "parrot "] and payloads[-1] == "[DONE]"

        await asyncio.sleep(2.5)  # longer than a row lives without a heartbeat
        assert (await api.chat("polly"))[0] == 200
        publisher.terminate()
        await publisher.ended()
        await api.until_status("polly", "inactive", limit_s=0.5)
        assert (await api.chat("polly"))[0] == 503
