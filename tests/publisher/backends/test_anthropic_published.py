"""A publisher in front of an Anthropic server: callers of the broker see OpenAI's chat, and its cost is counted."""

from __future__ import annotations

from tests.publisher.running import scene
from tests.support.engines.anthropic import Anthropic, Script

HI = [{"role": "user", "content": "hi"}]
COST = {"promptTokens": 5, "completionTokens": 3, "totalTokens": 8}


async def test_whole_answers_streams_and_refusals_travel_as_any_backends():
    async with Anthropic() as server, scene(type="anthropic", url=server.url) as s:
        whole = (await s.ask({"messages": HI})).frames[-1]
        assert (whole["status"], whole["usage"]) == (200, COST) and "tök€n" in whole["body"]
        assert server.asked["model"] == "real"

        request = {"messages": HI, "stream": True, "stream_options": {"include_usage": True}}
        stream = await s.broker.ended(await s.broker.infer(request, streaming=True))
        text = "".join(frame["chunk"]["events"] for frame in stream.frames if "chunk" in frame)
        assert text.endswith("data: [DONE]\n\n") and "tök" in text and stream.frames[-1]["usage"] == COST

        refused = (await s.ask({"messages": HI, "n": 2})).frames[-1]
        assert refused["status"] == 400 and '"param":"n"' in refused["body"]


async def test_a_stream_that_breaks_off_is_told_as_broken():
    async with Anthropic(script=Script(cut_after=700)) as server, scene(type="anthropic", url=server.url) as s:
        told = await s.broker.ended(await s.broker.infer({"messages": HI, "stream": True}, streaming=True))
        assert told.frames[-1]["code"] == "backend_error" and "closed the stream" in told.frames[-1]["error"]


async def test_a_cancelled_task_hangs_up_on_the_server():
    async with Anthropic(script=Script(hang="stream")) as server, scene(type="anthropic", url=server.url) as s:
        task = await s.broker.infer({"messages": HI, "stream": True}, streaming=True)
        await server.until(lambda: [one for one in server.seen if one.method == "POST"])
        await s.broker.send(kind="cancel", taskId=s.broker.id_of(task), reason="gone")
        await server.until(lambda: any(one.aborted for one in server.seen))
