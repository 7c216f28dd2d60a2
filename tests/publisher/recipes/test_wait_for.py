"""The step ``wait``: polls until anything below 500, within its limit."""

import asyncio
import time

import pytest
from aiohttp import web

from publisher.config.values import WaitFor
from publisher.failures import RecipeFailed
from publisher.recipes.wait_for import wait_for
from tests.publisher.recipes.sites import site


async def failure_of(step: WaitFor, http) -> str:
    with pytest.raises(RecipeFailed) as told:
        await wait_for(step, http, poll_s=0.02)
    return str(told.value)


def test_it_waits_until_the_answer_is_below_500(play, http):
    statuses = [503, 500, 502, 404]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=statuses.pop(0))

    async def test():
        async with site(answer) as url, http() as session:
            await wait_for(WaitFor(f"{url}/health"), session, poll_s=0.01)
        assert statuses == []

    play(test())


def test_a_redirect_is_an_answer_and_is_not_followed(play, http):
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        raise web.HTTPFound("/login")

    async def test():
        async with site(answer) as url, http() as session:
            await wait_for(WaitFor(f"{url}/health"), session)
        assert seen == ["/health"]

    play(test())


def test_it_waits_for_a_machine_that_is_not_there_yet(play, http):
    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    async def test():
        async with site(answer) as url:
            pass
        async with http() as session:
            waiting = asyncio.create_task(wait_for(WaitFor(url), session, poll_s=0.02))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done
            async with site(answer, int(url.rpartition(":")[2])):
                await waiting

    play(test())


def test_the_limit_ends_it_and_says_what_it_last_saw(play, http):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503)

    async def test():
        async with site(answer) as url, http() as session:
            told = await failure_of(WaitFor(f"{url}/health?key=s3cret", 0.1), session)
            assert told == f"{url}/health was not there within 0.1 s (it answered 503)"
        async with http() as session:
            told = await failure_of(WaitFor("http://u:s3cret@127.0.0.1:9/", 0.1), session)
            assert told == "http://127.0.0.1:9/ was not there within 0.1 s (Connection refused)"

    play(test())


def test_a_server_that_takes_connections_and_says_nothing_does_not_hang_it(play, http):
    async def answer(request: web.Request) -> web.Response:
        await asyncio.Event().wait()

    async def test():
        async with site(answer) as url, http() as session:
            began = time.monotonic()
            assert "(no answer in time)" in await failure_of(WaitFor(url, 0.3), session)
            assert time.monotonic() - began < 10

    play(test())


def test_an_address_that_can_never_answer_fails_at_once(play, http):
    async def test():
        async with http() as session:
            for url in ("http://u:s3cret@127.0.0.1:99999999/", "ftp://u:s3cret@127.0.0.1/?s3cret", "s3cret://?s3cret"):
                told = await failure_of(WaitFor(url, 60), session)
                assert "check its url" in told and "s3cret" not in told

    play(test())
