"""A backend that answers properly, and not what was hoped for: errors, pages, nothing, or far too much."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.publisher.faults.side_by_side import STREAM, WHOLE, side_by_side
from tests.publisher.running import play
from tests.support.broken_backend import EVENTS, LAST, BrokenBackend, Talk, always, answer, chunk, event

HTML = b"Content-Type: text/html; charset=utf-8\r\n"


# ── what it says is passed on as it was said ────────────────────────────────

@pytest.mark.parametrize("request_", [WHOLE, STREAM], ids=["whole", "stream"])
def test_html_in_place_of_an_answer_is_passed_on_as_html(request_):
    async def test():
        async with BrokenBackend(always(answer(b"<h1>Nginx</h1>", kind=HTML))) as backend, side_by_side(backend.url) as s:
            last = (await s.ends(request_)).last
            assert (last["status"], last["body"]) == (200, "<h1>Nginx</h1>")
            assert last["headers"]["content-type"].startswith("text/html")
            await s.the_other_answers()

    play(test())


def test_another_model_than_asked_for_is_passed_on_as_it_says():
    async def other(talk: Talk) -> None:
        await talk.write(answer(b'{"data": [{"id": "other"}]}'))

    async def test():
        said = b'{"model": "another", "choices": []}'
        async with BrokenBackend(always(answer(said)), models=other) as backend, side_by_side(backend.url) as s:
            assert (await s.ends(WHOLE)).last["body"] == said.decode()
            assert json.loads(backend.asked[0].body)["model"] == "real"

    play(test())


ERROR = b'{"error": {"message": "out of memory", "code": 500}}'


def test_an_error_with_status_200_is_passed_on_as_it_was_said():
    async def test():
        async with BrokenBackend(always(answer(ERROR))) as backend, side_by_side(backend.url) as s:
            assert (await s.ends(WHOLE)).last["body"] == ERROR.decode()

    play(test())


@pytest.mark.parametrize("end", [LAST, b"0\r\n\r\n"], ids=["done", "no done"])
def test_an_error_inside_a_stream_is_passed_on_and_the_stream_ends(end):
    async def test():
        said = EVENTS + chunk(event("one")) + chunk(b"data: " + ERROR + b"\n\n") + end
        async with BrokenBackend(always(said)) as backend, side_by_side(backend.url) as s:
            assert (await s.ends(STREAM)).payloads[1:] == [ERROR.decode(), "[DONE]"]

    play(test())


def test_a_whole_answer_to_a_streaming_request_is_passed_on_whole():
    async def test():
        async with BrokenBackend(always(answer(b'{"choices": []}'))) as backend, side_by_side(backend.url) as s:
            assert (await s.ends(STREAM)).last["body"] == '{"choices": []}'

    play(test())


def test_a_redirect_is_passed_on_and_never_followed():
    async def test():
        async with BrokenBackend(always(answer(b"{}"))) as elsewhere:
            to = f"Location: {elsewhere.url}/chat/completions\r\n".encode()
            said = b"HTTP/1.1 307 Temporary Redirect\r\n" + to + b"Content-Length: 0\r\n\r\n"
            async with BrokenBackend(always(said)) as backend, side_by_side(backend.url) as s:
                last = (await s.ends(WHOLE)).last
                assert last["status"] == 307 and not elsewhere.asked

    play(test())


@pytest.mark.parametrize("said", [answer(b""), b"HTTP/1.1 204 No Content\r\n\r\n"], ids=["200", "204"])
@pytest.mark.parametrize("request_", [WHOLE, STREAM], ids=["whole", "stream"])
def test_an_empty_body_is_an_end_and_not_a_wait(said, request_):
    async def test():
        async with BrokenBackend(always(said)) as backend, side_by_side(backend.url) as s:
            last = (await s.ends(request_, limit_s=2)).last
            assert last["status"] in (200, 204) and last["body"] == ""

    play(test())


def test_a_stream_without_any_event_ends():
    async def test():
        async with BrokenBackend(always(EVENTS + b"0\r\n\r\n")) as backend, side_by_side(backend.url) as s:
            assert (await s.ends(STREAM, limit_s=2)).payloads == ["[DONE]"]

    play(test())


def test_interim_answers_are_skipped():
    async def test():
        said = b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 102 Processing\r\n\r\n" + answer(b'{"choices": []}')
        async with BrokenBackend(always(said)) as backend, side_by_side(backend.url) as s:
            assert (await s.ends(WHOLE)).last["body"] == '{"choices": []}'

    play(test())


def test_interim_answers_without_end_end_at_the_deadline():
    async def endless(talk: Talk) -> None:
        while True:
            await talk.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await asyncio.sleep(0.001)

    async def test():
        async with BrokenBackend(endless) as backend, side_by_side(backend.url) as s:
            told = await s.broken(WHOLE, deadlineMs=200)
            await backend.until(lambda: backend.busy)
            await s.the_other_answers(5)
            assert (await s.broker.ended(told)).last["code"] == "deadline"
            await backend.until(lambda: not backend.busy)

    play(test())


# ── sizes ───────────────────────────────────────────────────────────────────


def test_lines_of_ten_megabytes_pass_and_more_than_sixteen_end_the_stream():
    async def test():
        large = event("x" * (10 << 20))
        said = EVENTS + chunk(large) + chunk(event("small")) + LAST
        async with BrokenBackend(always(said)) as backend, side_by_side(backend.url) as s:
            told = await s.ends(STREAM)
            assert told.text.encode() == large + event("small") + b"data: [DONE]\n\n"
            backend.way = always(EVENTS + chunk(event("first")) + chunk(event("x" * (17 << 20))) + LAST)
            told = await s.ends(STREAM)
            assert "first" in told.text and "event larger than 16 MiB" in told.last["error"]
            await s.the_other_answers()

    play(test())


@pytest.mark.parametrize("part", [b"x" * 65536, b"data: x\n" * 8192], ids=["no newline", "no empty line"])
def test_a_stream_that_never_ends_an_event_is_given_up(part):
    async def endless(talk: Talk) -> None:
        await talk.write(EVENTS)
        while True:
            await talk.write(chunk(part))

    async def test():
        async with BrokenBackend(endless) as backend, side_by_side(backend.url) as s:
            assert "event larger than 16 MiB" in await s.fails(STREAM)
            await backend.until(lambda: not backend.busy)
            await s.the_other_answers()

    play(test())


def test_a_request_that_is_refused_before_it_is_read_has_its_answer_or_an_error():
    async def early(talk: Talk) -> None:
        await talk.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await asyncio.sleep(0.1)

    async def test():
        async with BrokenBackend(early, reads=False) as backend, side_by_side(backend.url) as s:
            last = (await s.ends({"messages": ["x" * (8 << 20)]})).last
            assert last.get("status") == 413 or last["code"] == "backend_error"
            await s.the_other_answers()

    play(test())
