"""Infer tasks end to end: what the backend says is what the broker gets."""

import asyncio
import base64
import json

import pytest

from tests.publisher.running import play, scene
from tests.support.backend import Script
from tests.support.fake_broker import Told

REQUEST_URL = "/api/v1/llms/_provider-task/big/request"


def test_a_whole_answer_arrives_byte_for_byte_with_its_status_and_type():
    async def test():
        async with scene(script=Script(echo=True)) as s:
            told = await s.broker.infer(None)
            raw = '{"messages":[],"temperature":1.00,"seed":12345678901234567890,"ünknown":{"a":[1e5]}}'
            task_id = s.broker.id_of(told)
            await s.broker.ended(told)  # null is no request
            assert told.last["code"] == "invalid_request"
            told = s.broker.tasks["raw"] = type(told)()
            await s.broker.raw(f'data: {{"kind":"infer","taskId":"raw","llmName":"m","request":{raw}}}\n\n'.encode())
            await s.broker.ended(told)
            assert task_id != "raw"
            assert told.last["status"] == 200
            assert told.last["headers"]["content-type"].startswith("application/json")
            assert told.last["body"] == raw[:-1] + ',"model":"real"}'

    play(test())


def test_the_row_s_model_replaces_the_asked_one_in_its_place():
    async def test():
        async with scene(script=Script(echo=True)) as s:
            told = await s.ask({"model": "alias", "stream_options": None})
            assert json.loads(told.last["body"])["model"] == "real"

    play(test())


def test_a_stream_arrives_with_its_head_first_and_the_same_payloads():
    async def test():
        async with scene() as s:
            told = await s.ask({"stream": True}, tokens=20, delay_s=0.001)
            assert told.frames[0]["status"] == 200 and "chunk" not in told.frames[0]
            assert told.frames[0]["headers"]["content-type"] == "text/event-stream"
            assert [json.loads(p)["choices"][0]["delta"]["content"] for p in told.payloads[:-1]] == [
                f"tök€n{n} " for n in range(20)
            ]
            assert told.payloads[-1] == "[DONE]" and told.last["chunk"]["done"]
            assert [frame["seq"] for frame in told.frames] == list(range(len(told.frames)))

    play(test())


@pytest.mark.parametrize("how", ["crlf", "comments", "no_space", "no_done", "torn"])
def test_a_stream_written_in_another_way_says_the_same(how):
    async def test():
        async with scene(script=Script(**{how: True})) as s:
            told = await s.ask({"stream": True}, tokens=4)
            assert len(told.payloads) == 5 and told.payloads[-1] == "[DONE]"
            assert "tök€n3" in told.payloads[3]
            assert told.last["chunk"]["done"]

    play(test())


def test_large_events_pass_whole():
    async def test():
        async with scene() as s:
            told = await s.ask({"stream": True}, tokens=5, token_bytes=1 << 20)
            assert [len(p) > 1 << 20 for p in told.payloads] == [True] * 5 + [False]

    play(test())


@pytest.mark.parametrize("stream", [False, True])
def test_a_backend_s_error_keeps_status_body_and_retry_after(stream):
    async def test():
        async with scene() as s:
            told = await s.ask({"stream": stream}, status=429, retry_after="7")
            assert len(told.frames) == 1
            assert told.last["status"] == 429 and told.last["headers"]["retry-after"] == "7"
            assert json.loads(told.last["body"])["error"]["message"] == "scripted"
            told = await s.ask({"stream": stream}, status=502, html=True)
            assert told.last["status"] == 502 and told.last["body"] == "<h1>oops</h1>"
            assert told.last["headers"]["content-type"].startswith("text/html")

    play(test())


def test_an_answer_that_is_not_utf8_comes_as_base64():
    async def test():
        async with scene() as s:
            told = await s.ask(latin1=True)
            assert base64.b64decode(told.last["bodyBase64"]) == b"caf\xe9"

    play(test())


def test_a_stream_that_breaks_ends_with_an_error_after_what_was_said():
    async def test():
        async with scene() as s:
            told = await s.ask({"stream": True}, tokens=5, break_after=2, delay_s=0.01)
            assert told.last["code"] == "backend_error" and "closed the stream" in told.last["error"]
            assert len(told.payloads) == 2

    play(test())


def test_an_answer_that_is_not_http_is_a_backend_error():
    async def test():
        async with scene() as s:
            told = await s.ask(malformed=True)
            assert told.last["code"] == "backend_error"

    play(test())


def test_a_refused_connection_without_a_recipe_is_said_so():
    async def test():
        async with scene() as s:
            await s.backend.stop()
            told = await s.ask()
            assert told.last["code"] == "backend_unreachable"
            assert f"backend at {s.backend.url} refused the connection" in told.last["error"]

    play(test())


@pytest.mark.parametrize("operation, path", [("completions", "/v1/completions"), ("embeddings", "/v1/embeddings"),
                                             ("chat", "/v1/chat/completions")])
def test_each_operation_has_its_own_path(operation, path):
    async def test():
        async with scene(api_key="sk-local") as s:
            await s.broker.ended(await s.broker.infer({"input": ["a", "b"]}, operation=operation))
            assert s.backend.seen[-1].path == path
            assert s.backend.seen[-1].headers["Authorization"] == "Bearer sk-local"

    play(test())


def test_base64_embeddings_stay_base64():
    async def test():
        async with scene() as s:
            request = {"input": "a", "encoding_format": "base64"}
            told = await s.broker.ended(await s.broker.infer(request, operation="embeddings"))
            assert isinstance(json.loads(told.last["body"])["data"][0]["embedding"], str)

    play(test())


def test_an_unknown_operation_is_an_error_not_a_guess():
    async def test():
        async with scene() as s:
            told = await s.broker.ended(await s.broker.infer({}, operation="images"))
            assert told.last["code"] == "backend_error" and "images" in told.last["error"]

    play(test())


def test_a_large_request_is_fetched_from_the_broker():
    async def test():
        async with scene(script=Script(echo=True)) as s:
            s.broker.requests["big"] = json.dumps({"messages": ["x" * 2_000_000]}).encode()
            told = s.broker.tasks["big"] = type(await s.broker.infer({}))()
            url = "/api/v1/llms/_provider-task/big/request"
            await s.broker.send(kind="infer", taskId="big", llmName="m", requestUrl=url)
            await s.broker.ended(told)
            assert len(json.loads(told.last["body"])["messages"][0]) == 2_000_000

    play(test())


def test_a_large_request_is_fetched_again_until_the_broker_has_it():
    async def test():
        async with scene(script=Script(echo=True)) as s:
            s.broker.requests["big"] = b'{"messages":["big"]}'
            s.broker.refuse["request"] = [(503, "later")] * 3
            told = s.broker.tasks["big"] = Told()
            await s.broker.send(kind="infer", taskId="big", llmName="m", requestUrl=REQUEST_URL, deadlineMs=20_000)
            await s.broker.ended(told)
            assert json.loads(told.last["body"])["messages"] == ["big"]
            assert s.broker.calls.count("request") == 4

    play(test())


def test_a_large_request_that_never_comes_ends_with_the_deadline():
    async def test():
        async with scene() as s:
            s.broker.refuse["request"] = [(503, "later")] * 1000
            told = s.broker.tasks["big"] = Told()
            await s.broker.send(kind="infer", taskId="big", llmName="m", requestUrl=REQUEST_URL, deadlineMs=200)
            await s.broker.ended(told)
            assert told.last["code"] == "deadline" and s.broker.calls.count("request") > 1

    play(test())


def test_a_large_request_that_the_broker_refuses_is_not_asked_for_again():
    async def test():
        async with scene() as s:
            s.broker.refuse["request"] = [(404, "no such task")]
            told = s.broker.tasks["big"] = Told()
            await s.broker.send(kind="infer", taskId="big", llmName="m", requestUrl=REQUEST_URL, deadlineMs=20_000)
            await s.broker.ended(told)
            assert "no such task" in told.last["error"] and s.broker.calls.count("request") == 1

    play(test())


def test_a_request_url_outside_the_broker_is_never_called():
    async def test():
        async with scene() as s:
            told = s.broker.tasks["x"] = type(await s.broker.infer({}))()
            await s.broker.send(kind="infer", taskId="x", llmName="m", requestUrl="//evil.example/x")
            await s.broker.ended(told)
            assert "not its own" in told.last["error"]

    play(test())


def test_an_llm_that_is_not_published_here_is_refused():
    async def test():
        async with scene() as s:
            told = await s.broker.ended(await s.broker.infer({}, llm="other"))
            assert told.last["code"] == "not_published"

    play(test())


def test_a_cancel_hangs_up_at_the_backend_and_is_the_last_word():
    async def test():
        async with scene(script=Script(hang="stream")) as s:
            told = await s.broker.infer({"stream": True})
            await s.broker.until(lambda: "tök€n2" in told.text)
            await s.broker.send(kind="cancel", taskId=s.broker.id_of(told), reason="client gone")
            await s.broker.ended(told)
            assert told.last["code"] == "cancelled"
            await s.backend.until(lambda: s.backend.seen[0].aborted)

    play(test())


def test_a_cancel_told_with_the_results_stops_the_task_too():
    async def test():
        async with scene(script=Script(hang="stream", tokens=1)) as s:
            told = await s.broker.infer({"stream": True})
            told.cancelled = True
            await s.broker.ended(told)
            assert told.last["code"] == "cancelled"
            await s.backend.until(lambda: s.backend.seen[0].aborted)

    play(test())


def test_the_deadline_hangs_up_at_the_backend():
    async def test():
        async with scene(script=Script(hang="head")) as s:
            told = await s.broker.ended(await s.broker.infer({}, deadlineMs=100))
            assert told.last["code"] == "deadline"
            await s.backend.until(lambda: s.backend.seen[0].aborted)

    play(test())


def test_a_task_that_the_broker_no_longer_wants_is_dropped():
    async def test():
        async with scene(script=Script(hang="stream", tokens=1)) as s:
            told = await s.broker.infer({"stream": True})
            told.unwanted = True
            await s.backend.until(lambda: bool(s.backend.seen) and s.backend.seen[0].aborted)
            assert told.frames == []

    play(test())


def test_never_more_requests_at_the_backend_than_slots():
    async def test():
        async with scene(slots=2) as s:
            told = [await s.broker.infer({"script": {"delay_s": 0.01}}) for _ in range(8)]
            for one in told:
                await s.broker.ended(one)
            assert s.backend.most_at_once == 2

    play(test())


def test_a_task_given_twice_runs_once_even_after_its_end():
    async def test():
        async with scene() as s:
            told = await s.ask()
            frame = {"kind": "infer", "taskId": s.broker.id_of(told), "llmName": "m", "request": {}}
            await s.broker.send(**frame)
            await s.broker.send(**frame)
            await s.ask()
            assert len(s.backend.seen) == 2

    play(test())


def test_a_quick_task_is_not_accepted_apart_and_a_slow_one_is():
    async def test():
        async with scene(script=Script(hang="head")) as s:
            slow = await s.broker.infer({})
            await s.broker.until(lambda: slow.accepted == 1)
            quick = await s.ask(hang="", echo=True)
            assert quick.accepted == 0

    play(test())


def test_one_failing_task_leaves_the_others_alone():
    async def test():
        async with scene() as s:
            bad = await s.broker.infer({"stream": True, "script": {"break_after": 1}})
            good = await s.broker.infer({"stream": True, "script": {"tokens": 50, "delay_s": 0.001}})
            await asyncio.gather(s.broker.ended(bad), s.broker.ended(good))
            assert bad.last["code"] == "backend_error" and len(good.payloads) == 51

    play(test())
