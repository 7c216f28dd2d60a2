"""The contract's chapter on inference: which row answers how, and that an answer is what the backend said."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.streams import asked
from tests.support.waiting import eventually


async def test_an_active_llm_answers_through_its_publisher(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.chat("m", temperature=0.5))
        frame = await provider.next()
        assert frame["llmName"] == "m" and frame["operation"] == "chat" and frame["streaming"] is False
        assert frame["request"] == {"model": "m", "messages": [], "temperature": 0.5}
        assert 0 < frame["deadlineMs"] <= 600_000
        assert (await provider.answer(frame, {"answer": 42}))[0] == 200
        status, body, headers = await asking
        assert (status, body) == (200, {"answer": 42})
        assert headers["X-Request-Id"] == frame["taskId"]


async def test_infer_by_name_needs_no_model(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "org/m:8b") as provider:
        asking = asked(broker.call("POST", f"{BASE}/org%2Fm:8b/infer", {"messages": [1]}))
        frame = await provider.next()
        assert frame["llmName"] == "org/m:8b" and frame["request"] == {"messages": [1]}
        await provider.answer(frame)
        assert (await asking)[0] == 200


async def test_the_path_names_the_llm_whatever_the_model_says(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.call("POST", f"{BASE}/m/infer", {"model": "other", "messages": []}))
        frame = await provider.next()
        assert frame["llmName"] == "m" and frame["request"]["model"] == "other"
        await provider.answer(frame)
        await asking


async def test_an_unknown_llm_is_404(redis_at):
    async with replica(redis_at) as broker:
        status, body, headers = await broker.chat("nobody")
        assert status == 404 and body["error"]["code"] == "model_not_found" and headers["X-Request-Id"]
        assert (await broker.call("POST", f"{BASE}/nobody/infer", {"messages": []}))[0] == 404


async def test_an_inactive_llm_is_503_publisher_offline(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        await provider.post("/_provider-goodbye")
        status, body, headers = await broker.chat("m")
        assert status == 503 and "publisher offline" in body["error"]["message"]
        assert body["error"]["code"] == "publisher_offline" and int(headers["Retry-After"]) >= 1


async def test_a_llm_without_a_channel_is_503_publisher_offline(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", connect=False):
        assert (await broker.llm("m"))["status"] == "active"
        status, body, _ = await broker.chat("m")
        assert status == 503 and "publisher offline" in body["error"]["message"]


async def test_a_hibernating_llm_without_a_channel_is_503(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", connect=False, initialStatus="hibernating"):
        assert (await broker.chat("m"))[0] == 503


async def test_a_channel_that_closes_refuses_new_requests_at_once(redis_at):
    async with replica(redis_at, reconnect_grace_seconds=20) as broker, Provider(broker, "m") as provider:
        await provider.close()
        await broker.until_status("m", "inactive")
        assert (await broker.chat("m"))[0] == 503


@pytest.mark.parametrize("status", [200, 201, 400, 401, 404, 422, 429, 500, 503])
async def test_the_backends_status_passes(redis_real, status):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.chat("m"))
        await provider.answer(await provider.next(), {"error": {"message": "as it is", "odd": 1}}, status=status)
        assert (await asking)[:2] == (status, {"error": {"message": "as it is", "odd": 1}})


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":"x","choices":[{"finish_reason":"tool_calls","message":{"tool_calls":[{"id":"1","x_new":null}]}}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens_details":{"reasoning_tokens":7}},"vendor":{"a":[1.0,1e3]}}',
        b'{ "spaced" :\t[1,  2] ,"big": 123456789012345678901234567890, "twice":1, "twice":2}',
        '{"text":"tök€n \\u20ac \\ud83d\\ude00 😀"}'.encode(),
        b"[]",
        b"null",
    ],
)
async def test_a_json_body_passes_byte_for_byte(redis_real, raw):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        async with asyncio.timeout(10):
            asking = asyncio.create_task(_raw_chat(broker))
            frame = await provider.next()
            line = b'{"status":200,"body":' + raw + b"}"
            status, *_ = await broker.call(
                "POST", f"{BASE}/_provider-task/{frame['taskId']}/result", line, headers=provider.headers
            )
            assert status == 200
            assert await asking == (200, raw, "application/json")


async def _raw_chat(broker):
    async with broker.http.post(broker.url + "/v1/chat/completions", json={"model": "m"}) as response:
        return response.status, await response.read(), response.headers["Content-Type"]


async def test_a_text_body_passes_with_its_content_type(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(_raw_chat(broker))
        frame = await provider.next()
        await provider.answer(frame, "<h1>Bad\nGateway</h1>", status=502, headers={"Content-Type": "text/html; charset=utf-8"})
        assert await asking == (502, b"<h1>Bad\nGateway</h1>", "text/html; charset=utf-8")


async def test_bytes_that_are_no_utf8_pass_as_base64(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(_raw_chat(broker))
        frame = await provider.next()
        await provider.result(frame, {"status": 500, "bodyBase64": "//4AAQ==", "headers": {"content-type": "application/octet-stream"}})
        assert await asking == (500, b"\xff\xfe\x00\x01", "application/octet-stream")


async def test_the_headers_that_clients_act_on_pass_and_no_others(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.chat("m"))
        given = {
            "Retry-After": "7", "X-RateLimit-Remaining": "3", "openai-model": "x", "Set-Cookie": "a=b",
            "Transfer-Encoding": "chunked", "Content-Length": "1", "X-Request-Id": "forged", "Access-Control-Allow-Origin": "*",
        }
        frame = await provider.next()
        await provider.answer(frame, {"a": 1}, status=429, headers=given)
        status, body, headers = await asking
        assert status == 429 and body == {"a": 1}
        assert headers["Retry-After"] == "7" and headers["X-RateLimit-Remaining"] == "3" and headers["openai-model"] == "x"
        assert headers["X-Request-Id"] == frame["taskId"]
        assert not {"Set-Cookie", "Access-Control-Allow-Origin"} & set(headers)


async def test_a_header_cannot_smuggle_another_line(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.chat("m"))
        await provider.answer(await provider.next(), {}, headers={"Retry-After": "1\r\nSet-Cookie: a=b"})
        status, _, headers = await asking
        assert status == 200 and "Set-Cookie" not in headers


async def test_a_publishers_error_is_502_with_its_reason(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.chat("m"))
        await provider.fail(await provider.next(), "the backend exploded")
        status, body, _ = await asking
        assert status == 502 and body["error"]["message"] == "the backend exploded"
        assert set(body["error"]) == {"message", "type", "code", "param"}


@pytest.mark.parametrize(("code", "status"), [("backend_unreachable", 502), ("deadline", 504), ("publisher_offline", 503)])
async def test_a_publishers_error_code_chooses_the_status(redis_real, code, status):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.chat("m"))
        await provider.fail(await provider.next(), "why", code)
        got, body, _ = await asking
        assert (got, body["error"]["code"], body["error"]["message"]) == (status, code, "why")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b'{"model":1}', 400), (b'{"messages":[]}', 400), (b'{"model":"m\xff"}', 400)],
)
async def test_a_body_that_makes_no_sense_is_refused_in_the_errors_shape(redis_real, body, status):
    async with replica(redis_real) as broker:
        got, answer, headers = await broker.call("POST", "/v1/chat/completions", body)
        assert got == status and set(answer["error"]) == {"message", "type", "code", "param"}
        assert headers["X-Request-Id"].startswith("req_")


async def test_line_breaks_in_a_request_cannot_break_its_frame(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        body = b'{\r\n"model":\n"m",\n\n"messages":[{"content":"a\\n\\ndata: {}\\n"}]\n}'
        asking = asked(broker.call("POST", "/v1/chat/completions", body))
        frame = await provider.next()
        assert frame["request"]["messages"][0]["content"] == "a\n\ndata: {}\n"
        await provider.answer(frame)
        assert (await asking)[0] == 200


async def test_a_large_request_comes_by_its_url(redis_at):
    async with replica(redis_at, inline_request_bytes=1000) as broker, Provider(broker, "m") as provider:
        body = json.dumps({"model": "m", "messages": ["é" * 3000]}).encode()
        asking = asked(broker.call("POST", "/v1/chat/completions", body))
        frame = await provider.next()
        assert "request" not in frame and frame["requestUrl"] == f"{BASE}/_provider-task/{frame['taskId']}/request"
        async with broker.http.get(broker.url + frame["requestUrl"], headers=provider.headers) as response:
            assert response.status == 200 and await response.read() == body
        await provider.answer(frame)
        assert (await asking)[0] == 200
        assert (await broker.call("GET", frame["requestUrl"], headers=provider.headers))[0] == 404


async def test_a_request_body_is_only_for_the_session_that_has_the_task(redis_at):
    async with (
        replica(redis_at, inline_request_bytes=10) as broker,
        Provider(broker, "m") as provider, Provider(broker, "other") as other,
    ):
        asking = asked(broker.chat("m"))
        frame = await provider.next()
        assert (await broker.call("GET", frame["requestUrl"], headers=other.headers))[0] == 404
        await provider.answer(frame)
        await asking


async def test_a_body_over_the_limit_is_413(redis_real):
    async with replica(redis_real, max_request_bytes=1000) as broker, Provider(broker, "m"):
        status, body, _ = await broker.chat("m", padding="x" * 2000)
        assert status == 413 and body["error"]["code"] == "request_too_large"


async def test_completions_pass_under_their_own_operation(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.call("POST", "/v1/completions", {"model": "m", "prompt": "a"}))
        frame = await provider.next()
        assert frame["operation"] == "completions" and frame["request"]["prompt"] == "a"
        await provider.answer(frame, {"text": "b"})
        assert (await asking)[:2] == (200, {"text": "b"})


async def test_a_head_then_a_body_in_pieces_makes_one_answer(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(_raw_chat(broker))
        frame = await provider.next()
        await provider.result(frame, {"status": 201, "headers": {"content-type": "text/plain"}})
        await provider.result(frame, {"chunk": {"data": "a"}})
        await provider.result(frame, {"chunk": {"data": "b", "done": True}})
        assert await asking == (201, b"data: a\n\ndata: b\n\n", "text/plain")


async def test_nothing_of_a_request_is_left_when_it_has_ended(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.chat("m"))
        await provider.answer(await provider.next())
        await asking
        kinds = {key.split(b":")[0] for key in await redis_at.keys()}
        assert not kinds & {b"task", b"leases", b"waiting", b"wake", b"asked"}
        # A stream stays when its last entry goes, but empty.
        assert await redis_at.read(f"session-tasks:{provider.session}") == []
        assert not await redis_at.read("timers")


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/nowhere", f"{BASE}/nobody", "/v1/chat/completions"])
async def test_every_answer_carries_a_request_id_of_its_own(redis_real, path):
    async with replica(redis_real) as broker:
        ids = {(await broker.call("GET", path))[2]["X-Request-Id"] for _ in range(3)}
        assert len(ids) == 3


async def test_requests_are_known_to_the_metrics_until_they_end(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asked(broker.chat("m"))
        frame = await provider.next()
        assert broker.broker.relay.running == 1
        await provider.answer(frame)
        await asking
        await eventually(lambda: broker.broker.relay.running == 0)
