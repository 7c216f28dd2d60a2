"""The publisher's wire protocol: what the broker takes, refuses and repeats."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.streams import asked, stream
from tests.support.tokens import tokens
from tests.support.waiting import eventually


def chunk(frame: dict, seq: int, data: str, **more) -> dict:
    return {"taskId": frame["taskId"], "seq": seq, "chunk": {"data": data, **more}}


def statuses(answer) -> list[int]:
    assert answer[0] == 200, answer
    return [entry["status"] for entry in answer[1]["results"]]


async def test_a_comment_comes_at_once_and_then_regularly(redis_real):
    async with replica(redis_real, channel_ping_seconds=0.05) as broker, Provider(broker, "m", connect=False) as provider:
        async with asyncio.timeout(20), broker.http.get(
            f"{broker.url}{BASE}/_provider-stream", headers=provider.headers
        ) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            for _ in range(4):
                assert (await response.content.readuntil(b"\n")).startswith(b":")
                await response.content.readuntil(b"\n")


async def test_a_frame_is_one_data_line_of_json(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", connect=False) as provider, asyncio.timeout(20):
        async with broker.http.get(f"{broker.url}{BASE}/_provider-stream", headers=provider.headers) as response:
            await response.content.readuntil(b"\n\n")
            client = asked(broker.call("POST", "/v1/chat/completions", b'{\n"model":"m",\r\n"x":"\xe2\x82\xac"}'))
            event = await response.content.readuntil(b"\n\n")
            assert event.startswith(b"data: ") and event.count(b"\n") == 2
            frame = json.loads(event[6:])
            assert frame["kind"] == "infer" and frame["request"]["x"] == "€"
            await provider.answer(frame)
            await client


async def test_a_repeated_frame_is_a_200_without_effect(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        for seq in (0, 0, 1, 0, 1, 1):
            assert statuses(await provider.results(chunk(frame, seq, str(seq)))) == [200]
        await provider.results(chunk(frame, 2, "[DONE]", done=True))
        assert (await client).payloads == [b"0", b"1", b"[DONE]"]


async def test_a_gap_is_409_with_what_is_expected(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        status, body, _ = await provider.chunk(frame, "late", seq=2)
        assert status == 409 and body["expected"] == 0
        await provider.chunk(frame, "0", seq=0)
        answer = await provider.results(chunk(frame, 3, "x"))
        assert answer[1]["results"] == [{"taskId": frame["taskId"], "status": 409, "expected": 1}]
        await provider.results(chunk(frame, 1, "[DONE]", done=True))
        assert (await client).payloads == [b"0", b"[DONE]"]


async def test_a_batch_that_is_known_in_part_adds_only_what_is_new(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        frames = [chunk(frame, seq, str(seq)) for seq in range(4)]
        assert statuses(await provider.results(*frames[:2])) == [200, 200]
        assert statuses(await provider.results(*frames)) == [200] * 4
        last = chunk(frame, 4, "[DONE]", done=True)
        assert statuses(await provider.results(*frames[2:], last)) == [200] * 3
        assert (await client).payloads == [b"0", b"1", b"2", b"3", b"[DONE]"]


async def test_a_gap_within_a_batch_refuses_what_follows_it(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        assert statuses(await provider.results(chunk(frame, 0, "0"), chunk(frame, 2, "2"))) == [200, 409]
        assert statuses(await provider.results(chunk(frame, 1, "1"), chunk(frame, 2, "[DONE]", done=True))) == [200, 200]
        assert (await client).payloads == [b"0", b"1", b"[DONE]"]


async def test_one_call_carries_frames_of_many_tasks_in_any_mixture(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m", slots=3) as provider:
        clients = [asked(stream(broker, "m", number=number)) for number, broker in enumerate((one, two, one))]
        frames = sorted([await provider.next() for _ in clients], key=lambda frame: frame["request"]["number"])
        mixed = [chunk(frame, seq, f"{number}.{seq}") for seq in range(3) for number, frame in enumerate(frames)]
        assert statuses(await provider.results(*mixed)) == [200] * 9
        ends = [chunk(frame, 3, "[DONE]", done=True) for frame in frames]
        assert statuses(await provider.results(*ends)) == [200] * 3
        for number, client in enumerate(clients):
            assert (await client).payloads == [b"%d.%d" % (number, seq) for seq in range(3)] + [b"[DONE]"]


async def test_bad_lines_among_good_ones_are_refused_alone(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        lines = [
            json.dumps(chunk(frame, 0, "a")).encode(), b"{not json", b'{"taskId": 7}', b'"text"', b"\xff\xfe",
            json.dumps({"taskId": frame["taskId"]}).encode(), json.dumps({"taskId": "req_no", "error": "x"}).encode(), b"",
            json.dumps({"taskId": frame["taskId"], "status": 99, "body": 1}).encode(),
            json.dumps(chunk(frame, 1, "[DONE]", done=True)).encode(),
        ]
        answer = await broker.call("POST", f"{BASE}/_provider-results", b"\n".join(lines), headers=provider.headers)
        assert statuses(answer) == [200, 422, 422, 422, 422, 422, 404, 422, 200]
        assert (await client).payloads == [b"a", b"[DONE]"]


async def test_an_empty_batch_is_400(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        for body in (b"", b"\n\n"):
            assert (await broker.call("POST", f"{BASE}/_provider-results", body, headers=provider.headers))[0] == 400


async def test_a_result_may_come_by_any_replica(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, replica(redis_at) as three:
        async with Provider(one, "m") as provider:
            client = asked(stream(two, "m"))
            frame = await provider.next()
            for seq, broker in enumerate((one, two, three, one)):
                provider.move_to(broker)
                assert (await provider.chunk(frame, str(seq), seq=seq))[0] == 200
            await provider.chunk(frame, "[DONE]", done=True, seq=4)
            assert (await client).payloads == [b"0", b"1", b"2", b"3", b"[DONE]"]


async def test_frames_without_a_number_are_taken_as_they_come(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(stream(broker, "m"))
        task = (await provider.next())["taskId"]
        await provider.results(*({"taskId": task, "chunk": {"data": data}} for data in "aab"))
        await provider.results({"taskId": task, "chunk": {"data": "[DONE]", "done": True}})
        assert (await client).payloads == [b"a", b"a", b"b", b"[DONE]"]


async def test_results_of_an_ended_or_unknown_task_are_404(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        assert (await provider.answer(frame))[0] == 200
        status, body, _ = await provider.answer(frame, {"another": 1})
        assert status == 404 and body["error"]["code"] == "unknown_task"
        assert (await provider.answer({"taskId": "req_nobody"}))[0] == 404
        assert (await provider.post("/_provider-task/req_nobody/accept"))[0] == 404
        assert (await client)[1] == {"ok": True}


async def test_only_the_session_that_has_a_task_may_answer_it(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider, Provider(broker, "n") as other:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        assert (await other.answer(frame, {"forged": 1}))[0] == 404
        assert (await other.chunk(frame, "forged"))[0] == 404
        assert (await other.post(f"/_provider-task/{frame['taskId']}/accept"))[0] == 404
        await provider.answer(frame, {"real": 1})
        assert (await client)[:2] == (200, {"real": 1})


async def test_a_task_in_line_takes_no_results(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", slots=1) as provider:
        clients = [asked(broker.chat("m"))]
        frame = await provider.next()
        clients.append(asked(broker.chat("m")))
        ((waiting, _),) = await eventually(lambda: redis_at.read("waiting:m"))
        assert (await provider.answer({"taskId": waiting.decode()}))[0] == 404
        await provider.answer(frame)
        await provider.answer(await provider.next())
        assert [status for status, *_ in await asyncio.gather(*clients)] == [200, 200]


async def test_another_owner_with_the_right_session_is_404(redis_real):
    async with (
        tokens(redis_real, ann="client+publisher", bob="publisher") as made,
        replica(redis_real) as broker,
        Provider(broker, "m", token=made.ann) as provider,
    ):
        client = asked(broker.chat("m", headers={"Authorization": f"Bearer {made.ann}"}))
        frame = await provider.next()
        thief = Provider(broker, session=provider.session, token=made.bob)
        assert (await thief.answer(frame, {"forged": 1}))[0] == 404
        assert (await thief.results({"taskId": frame["taskId"], "error": "forged"}))[0] == 404
        await provider.answer(frame)
        assert (await client)[0] == 200


@pytest.mark.parametrize("name", ["header", "body"])
async def test_the_session_may_be_named_in_the_header_or_in_the_body(redis_real, name):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        path = f"{BASE}/_provider-task/{(await provider.next())['taskId']}/result"
        body = {"status": 200, "body": {}}
        if name == "header":
            answer = await broker.call("POST", path, body, headers={"X-Provider-Session": provider.session})
        else:
            answer = await broker.call("POST", path, {**body, "providerSessionId": provider.session})
        assert answer[0] == 200 and (await client)[0] == 200


async def test_without_a_session_a_result_is_400(redis_real):
    async with replica(redis_real) as broker:
        assert (await broker.call("POST", f"{BASE}/_provider-task/t/result", {"status": 200, "body": 1}))[0] == 400


async def test_unknown_fields_are_ignored(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        client = asked(stream(broker, "m"))
        frame = await provider.next()
        assert (await provider.result(frame, {"chunk": {"data": "a", "new": 1}, "newer": {}}))[0] == 200
        assert (await provider.result(frame, {"chunk": {"data": "[DONE]", "done": True}, "at": 12.5}))[0] == 200
        assert (await client).payloads == [b"a", b"[DONE]"]


@pytest.mark.parametrize("body", [{}, {"status": 42, "body": 1}, {"status": 700, "body": 1}, {"status": 200, "bodyBase64": "%"}])
async def test_a_result_that_makes_no_sense_is_422_and_ends_nothing(redis_real, body):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        client = asked(broker.chat("m"))
        frame = await provider.next()
        status, answer, _ = await provider.result(frame, body)
        assert status == 422 and answer["error"]["message"]
        await provider.answer(frame)
        assert (await client)[0] == 200


async def test_a_publisher_that_speaks_only_register_heartbeat_stream_and_result_works(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        assert (await provider.heartbeat())[0] == 200
        whole = asked(broker.chat("m"))
        await provider.answer(await provider.next(), {"a": 1})
        assert (await whole)[:2] == (200, {"a": 1})
        streamed = asked(stream(broker, "m"))
        frame = await provider.next()
        await provider.chunk(frame, "a")
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await streamed).payloads == [b"a", b"[DONE]"]
