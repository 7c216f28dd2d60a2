"""Streaming, as the contract has it: real, exact to the byte, and never ending in silence."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.streams import asked, event_of, stream

DONE = b"data: [DONE]\n\n"


async def test_each_token_leaves_when_the_backend_produced_it(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        opening = asked(broker.http.post(broker.url + "/v1/chat/completions", json={"model": "m", "stream": True}))
        frame = await provider.next()
        assert frame["streaming"] is True
        for number, token in enumerate(["one", "two", "three"]):
            await provider.chunk(frame, token)
            if number == 0:
                response = await opening
                assert response.status == 200 and response.headers["Content-Type"].startswith("text/event-stream")
                assert response.headers["X-Request-Id"] == frame["taskId"]
            # Here before the next one has been sent at all.
            assert await event_of(response) == b"data: %s\n\n" % token.encode()
        await provider.chunk(frame, "[DONE]", done=True)
        assert await response.read() == DONE


async def test_infer_by_name_streams_too(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        opening = asked(broker.http.post(f"{broker.url}{BASE}/m/infer", json={"stream": True}))
        frame = await provider.next()
        await provider.chunk(frame, "a")
        await provider.chunk(frame, "[DONE]", done=True)
        assert await (await opening).read() == b"data: a\n\n" + DONE


EXACT = [
    '{"choices":[{"delta":{"content":"tök€n 😀"}}]}',
    '{ "spaced" : [1,  2.0, 1e3] , "unknown": {"deep": null} }',
    '{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\\"a\\":"}}]}}]}',
    '{"escaped":"\\u20ac\\n\\u0000"}',
    "no json at all",
    " leading and trailing ",
    ": looks like a comment",
    "data: looks like a field",
    "\u2028 and \u0085 are line ends to some, not to SSE",
]


async def test_payloads_pass_byte_for_byte_as_data(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        for payload in EXACT:
            await provider.chunk(frame, payload)
        await provider.chunk(frame, "[DONE]", done=True)
        said = await asking
        assert said.body == b"".join(b"data: %s\n\n" % payload.encode() for payload in EXACT) + DONE


async def test_payloads_pass_byte_for_byte_as_events(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        events = "".join(f"data: {payload}\n\n" for payload in EXACT)
        await provider.result(frame, {"chunk": {"events": events}})
        await provider.result(frame, {"chunk": {"events": "data: last\n\ndata: [DONE]\n\n", "done": True}})
        assert (await asking).body == events.encode() + b"data: last\n\n" + DONE


async def test_chunks_of_a_megabyte_pass_to_a_client_that_reads(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        sent = [str(number) * (1 << 20) for number in range(8)]
        for payload in sent:
            assert (await provider.chunk(frame, payload))[0] == 200
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await asking).payloads == [payload.encode() for payload in sent] + [b"[DONE]"]


async def test_a_burst_larger_than_the_clients_buffer_passes_to_a_client_that_reads(redis_real):
    async with replica(redis_real, client_buffer_bytes=1 << 20) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        sent = ["x" * 700_000 for _ in range(12)]
        await asyncio.gather(*(provider.chunk(frame, payload) for payload in sent))
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await asking).payloads == [payload.encode() for payload in sent] + [b"[DONE]"]


async def test_a_payload_of_several_lines_is_one_event_of_several_data_lines(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "a\nevent: forged\r\nid: 7\rdata: x\n\nb")
        await provider.chunk(frame, "[DONE]", done=True)
        said = await asking
        assert said.body == b"data: a\ndata: event: forged\ndata: id: 7\ndata: data: x\ndata: \ndata: b\n\n" + DONE
        assert said.payloads == [b"a\nevent: forged\nid: 7\ndata: x\n\nb", b"[DONE]"]


@pytest.mark.parametrize(
    "forged",
    ["event: x\ndata: a\n\n", "id: 1\n\n", "data: a\n", "data: a\n\n\n", "data: a\r\n\r\n", "data: a\rid: 1\n\n", ": c\n\n", "x"],
)
async def test_events_that_are_not_plain_data_lines_are_refused(redis_real, forged):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        status, body, _ = await provider.result(frame, {"chunk": {"events": forged}})
        assert status == 422 and body["error"]["code"] == "invalid_value"
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await asking).body == DONE


@pytest.mark.parametrize(
    ("last", "body"),
    [
        ({"data": "[DONE]", "done": True}, DONE),
        ({"data": "x", "done": True}, b"data: x\n\n" + DONE),
        ({"done": True}, DONE),
        ({"events": "data: x\n\n", "done": True}, b"data: x\n\n" + DONE),
        ({"events": "data: [DONE]\n\n", "done": True}, DONE),
    ],
)
async def test_a_stream_ends_in_one_done(redis_real, last, body):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.result(frame, {"chunk": last})
        assert (await asking).body == body


async def test_a_done_that_came_before_the_last_frame_is_not_doubled(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "x")
        await provider.chunk(frame, "[DONE]")
        await provider.result(frame, {"chunk": {"done": True}})
        assert (await asking).body == b"data: x\n\n" + DONE


async def test_a_backends_4xx_on_a_stream_is_a_4xx(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        await provider.answer(await provider.next(), {"error": {"message": "no such tool"}}, status=422)
        said = await asking
        assert said.status == 422 and json.loads(said.body) == {"error": {"message": "no such tool"}}
        assert said.headers["Content-Type"] == "application/json"


async def test_status_and_headers_may_come_before_the_stream(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        async with asyncio.timeout(10):
            opening = asked(broker.http.post(broker.url + "/v1/chat/completions", json={"model": "m", "stream": True}))
            frame = await provider.next()
            await provider.result(frame, {"status": 200, "headers": {"Content-Type": "text/event-stream", "openai-model": "z"}})
            response = await opening
            assert response.status == 200 and response.headers["openai-model"] == "z"
            await provider.chunk(frame, "a")
            assert await event_of(response) == b"data: a\n\n"
            await provider.chunk(frame, "[DONE]", done=True)
            assert await response.read() == DONE


async def test_a_head_that_is_a_4xx_then_its_body_is_a_4xx(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.result(frame, {"status": 400, "headers": {"content-type": "application/json"}})
        await provider.answer(frame, {"error": {"message": "why"}}, status=400)
        said = await asking
        assert said.status == 400 and json.loads(said.body)["error"]["message"] == "why"


async def test_an_error_before_the_first_byte_keeps_its_status(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        await provider.fail(await provider.next(), "broke")
        said = await asking
        assert said.status == 502 and json.loads(said.body)["error"]["message"] == "broke"


async def test_an_error_in_the_middle_is_an_event_and_the_end(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "a")
        await provider.fail(frame, "broke\nhalfway")
        said = await asking
        assert said.status == 200 and said.payloads[0] == b"a" and len(said.payloads) == 2
        assert said.error["message"] == "broke\nhalfway" and said.error["status"] == 502
        assert set(said.error) == {"message", "type", "code", "param", "status"}


async def test_a_token_and_the_error_in_one_call_both_arrive(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        task = (await provider.next())["taskId"]
        await provider.results(
            {"taskId": task, "seq": 0, "chunk": {"data": "a"}}, {"taskId": task, "seq": 1, "error": "broke"}
        )
        said = await asking
        assert said.payloads[0] == b"a" and said.error["message"] == "broke"


async def test_a_channel_lost_in_the_middle_is_an_error_event(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=0.1) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        await provider.chunk(await provider.next(), "a")
        await provider.close()
        said = await asking
        assert said.payloads[0] == b"a"
        assert said.error["status"] == 503 and said.error["code"] == "publisher_offline"


async def test_a_stream_that_stalls_is_an_error_event_and_cancelled(redis_real):
    async with replica(redis_real, idle_seconds=0.2) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "a")
        said = await asking
        assert said.error["code"] == "stream_stalled" and said.error["status"] == 504
        assert (await provider.next("cancel", 1.0))["taskId"] == frame["taskId"]
        assert (await provider.fail(frame, "stopped"))[0] == 200


async def test_a_stream_broken_by_half_a_surrogate_pair_stays_utf8(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(stream(broker, "m"))
        frame = await provider.next()
        raw = b'{"chunk":{"data":"\\ud83d"}}'
        status, *_ = await broker.call("POST", f"{BASE}/_provider-task/{frame['taskId']}/result", raw, headers=provider.headers)
        await provider.chunk(frame, "[DONE]", done=True)
        (await asking).body.decode()
        assert status in (200, 400)


async def test_a_slow_client_is_cancelled_and_the_others_go_on(redis_real):
    async with replica(redis_real, client_buffer_bytes=200_000) as broker, Provider(broker, "m", slots=2) as provider:
        reader, writer = await _client_that_does_not_read(broker)
        slow = await provider.next()
        quick = asked(stream(broker, "m"))
        frame = await provider.next()
        cancelled = asked(provider.next("cancel", 15))
        for _ in range(400):
            status, body, _ = await provider.chunk(slow, "x" * 100_000)
            await provider.chunk(frame, "y")
            if status != 200 or body["cancelled"]:
                break
        word = await cancelled
        assert word["taskId"] == slow["taskId"] and word["reason"] == "client_too_slow"
        await provider.fail(slow, "stopped")
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await quick).payloads[-1] == b"[DONE]"
        writer.close()


async def _client_that_does_not_read(broker):
    host, port = broker.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    body = b'{"model":"m","stream":true}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return reader, writer
