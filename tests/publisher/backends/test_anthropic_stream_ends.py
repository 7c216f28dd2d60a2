"""How an Anthropic stream ends: well, with an error, or not at all; never as if it were whole when it is not."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from broker.dialects.anthropic_stream import TranslatedStream
from broker.dialects.broken import BrokenAnswer, CutOff
from broker.dialects.sse import EventTooLarge
from tests.publisher.backends.anthropic_asking import Reads, ask, blocks_of, deltas, pair, said_of, timeless, translated
from tests.support.engines.anthropic import Script, event

async def test_an_error_in_the_stream_is_told_and_ends_it():
    script = Script(error={"type": "overloaded_error", "message": "Overloaded"})
    async with pair(script) as (_, backend):
        status, _, body = await ask(backend, streaming=True)
        *before, last, rest = body.split(b"\n\n")
        assert (status, rest, len(before)) == (200, b"", 4)
        assert json.loads(last.removeprefix(b"data: ")) == {
            "error": {"message": "Overloaded", "type": "overloaded_error", "code": "overloaded_error", "param": None}
        }


def test_nothing_is_said_after_an_error_even_if_the_server_goes_on():
    failed = event({"type": "error", "error": {}})
    (said,) = asyncio.run(blocks_of(failed + said_of(Script())))
    assert json.loads(said.removeprefix(b"data: "))["error"]["message"] == "the backend ended its answer with an error"


async def test_an_error_is_the_end_even_if_the_connection_stays_open():
    class Open(Reads):
        async def readany(self) -> bytes:
            return await super().readany() if self.left else await asyncio.Event().wait()

    body = TranslatedStream(Open(event({"type": "error", "error": {"message": "no"}}), b"more"), False)
    async with asyncio.timeout(10):
        assert b'"message":"no"' in await body.readany()
        assert await body.readany() == b"" and body.at_eof()


def test_after_the_end_nothing_is_said():
    whole_stream = said_of(Script())
    assert timeless(translated(whole_stream, whole_stream, b"data: junk\n\n")) == timeless(translated(whole_stream))


@pytest.mark.parametrize("kept", [0, 1, 30, 200, 600])
def test_a_stream_that_is_cut_is_never_made_whole(kept):
    with pytest.raises(CutOff):
        translated(said_of(Script())[:kept])


async def test_a_connection_that_breaks_off_is_told():
    for cut_after in (10, 700):
        async with pair(Script(cut_after=cut_after)) as (_, backend):
            with pytest.raises(aiohttp.ClientPayloadError):
                await ask(backend, streaming=True)


def test_an_answer_that_was_finished_needs_no_last_word():
    for ending in (b"event: message_stop", b'data: {"type": "message_stop"}'):
        said = said_of(Script())
        assert translated(said[:said.index(ending)])[-1] == "[DONE]"


def test_a_last_event_without_its_blank_line_is_heard():
    said = said_of(Script())
    finish, done = translated(said[:said.index(b"event: message_stop") - 1])[-2:]
    assert (finish["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")


@pytest.mark.parametrize("payload", [b"nonsense", b"[]", b"{}", b'{"type":5}', b'{"type":"content_block_delta","index":"x"}',
                                     b'{"choices":[]}', b'{"x":' + b"[" * 9000])
def test_a_stream_that_is_not_anthropics_is_a_broken_backend(payload):
    with pytest.raises(BrokenAnswer, match="check the provider's type"):
        translated(b"data: " + payload + b"\n\n")


def test_a_broken_character_is_replaced_and_ends_nothing():
    said = said_of(Script()).replace("€".encode(), b"\xe2\x82")
    assert {"content": "\ufffdn"} in deltas(translated(said))


def test_an_event_without_end_is_refused():
    async def flood() -> None:
        body = TranslatedStream(Reads(*[b"data: " + b"x" * (1 << 20)] * 20), False)
        await body.readany()

    with pytest.raises(EventTooLarge):
        asyncio.run(flood())
