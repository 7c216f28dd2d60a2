"""Comment lines keep a waiting stream alive; from the first one on, a refusal is an event in the stream."""

from __future__ import annotations

import asyncio
import json

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.streams import asked, event_of, payloads, stream, streaming


async def test_silence_before_the_first_byte_is_no_stall(redis_real):
    async with replica(redis_real, idle_seconds=0.1, comment_first_seconds=0.05, comment_every_seconds=0.05) as broker:
        async with Provider(broker, "m") as provider, asyncio.timeout(10):
            asking = asked(broker.http.post(broker.url + "/v1/chat/completions", json={"model": "m", "stream": True}))
            frame = await provider.next()
            response = await asking
            for _ in range(5):
                assert (await event_of(response)).startswith(b":")
            await provider.chunk(frame, "[DONE]", done=True)
            assert payloads(await response.read()) == [b"[DONE]"]


async def test_a_waiting_stream_gets_comments_first_early_then_regularly(redis_real):
    async with replica(redis_real, comment_first_seconds=0.1, comment_every_seconds=1.0) as broker:
        async with Provider(broker, "m", slots=1) as provider, asyncio.timeout(10):
            first = asked(broker.chat("m"))
            frame = await provider.next()
            loop = asyncio.get_running_loop()
            began = loop.time()
            async with streaming(broker, "m") as response:
                assert response.status == 200
                arrived = []
                for _ in range(3):
                    assert (await event_of(response)).startswith(b":")
                    arrived.append(loop.time() - began)
                # A machine that is busy delays one, and the next still comes at its time.
                assert 0.09 <= arrived[0] < 1.0 and arrived[1] >= 1.05 and arrived[2] >= 2.05
                await provider.answer(frame)
                await first
                frame = await provider.next()
                await provider.chunk(frame, "a")
                await provider.chunk(frame, "[DONE]", done=True)
                assert payloads(await response.read()) == [b"a", b"[DONE]"]


async def test_after_a_comment_a_refusal_is_in_the_stream_with_its_status(redis_real):
    async with replica(redis_real, comment_first_seconds=0.05, queue_wait_seconds=0.2) as broker:
        async with Provider(broker, "m", slots=1) as provider:
            first = asked(broker.chat("m"))
            frame = await provider.next()
            said = await stream(broker, "m")
            assert said.status == 200 and said.comments >= 1
            assert said.error["status"] == 503 and said.error["code"] == "queue_timeout"
            await provider.answer(frame)
            await first


async def test_after_a_comment_a_backends_4xx_is_in_the_stream_with_its_status(redis_real):
    async with replica(redis_real, comment_first_seconds=0.05) as broker, Provider(broker, "m") as provider:
        async with asyncio.timeout(10), streaming(broker, "m") as response:
            assert (await event_of(response)).startswith(b":")
            await provider.answer(await provider.next(), {"error": {"message": "bad tool", "code": "x"}}, status=400)
            error = json.loads(payloads(await response.read())[-1])["error"]
            assert error["message"] == "bad tool" and error["code"] == "x" and error["status"] == 400


async def test_after_a_comment_a_whole_answer_is_one_event_and_done(redis_real):
    async with replica(redis_real, comment_first_seconds=0.05) as broker, Provider(broker, "m") as provider:
        async with asyncio.timeout(10), streaming(broker, "m") as response:
            assert (await event_of(response)).startswith(b":")
            await provider.answer(await provider.next(), {"a": 1})
            assert payloads(await response.read()) == [b'{"a": 1}', b"[DONE]"]


async def test_without_wait_comments_a_late_refusal_keeps_its_status(redis_real):
    async with replica(redis_real, comment_first_seconds=0.05, queue_wait_seconds=0.3) as broker:
        async with Provider(broker, "m", slots=1) as provider:
            first = asked(broker.chat("m"))
            frame = await provider.next()
            said = await stream(broker, "m", headers={"X-Wait-Comments": "off"})
            assert said.status == 503 and json.loads(said.body)["error"]["code"] == "queue_timeout"
            await provider.answer(frame)
            await first


async def test_without_wait_comments_a_backends_late_4xx_is_a_4xx(redis_real):
    async with replica(redis_real, comment_first_seconds=0.02) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m", headers={"X-Wait-Comments": "off"}))
        frame = await provider.next()
        done, _ = await asyncio.wait({asking}, timeout=0.2)
        assert not done
        await provider.answer(frame, {"error": {}}, status=418)
        assert (await asking).status == 418
