"""The step ``http``: what is sent, what counts as success, and what a failure never tells."""

import asyncio
import contextlib

import pytest
from aiohttp import web

from publisher.config.values import Http
from publisher.failures import RecipeFailed
from publisher.recipes.http import call
from tests.publisher.recipes.sites import site

TIMEOUT_S = 5.0


async def failure_of(step: Http, http, timeout_s: float = TIMEOUT_S) -> str:
    with pytest.raises(RecipeFailed) as told:
        await call(step, http, timeout_s)
    return str(told.value)


def test_it_sends_what_it_says(play, http):
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.path_qs, request.headers.get("X-Key"), await request.text()))
        return web.Response(status=202)

    async def test():
        async with site(answer) as url, http() as session:
            await call(Http(f"{url}/wake?now=1", "POST", {"X-Key": "k"}, '{"ö": 1}'), session, TIMEOUT_S)
            await call(Http(f"{url}/wake", "GET"), session, TIMEOUT_S)
        assert seen == [("POST", "/wake?now=1", "k", '{"ö": 1}'), ("GET", "/wake", None, "")]

    play(test())


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(play, http, status):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async def test():
        async with site(answer) as url, http() as session:
            await call(Http(url), session, TIMEOUT_S)

    play(test())


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_anything_else_is_a_failure_that_names_the_status(play, http, status):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text="a page that is not read")

    async def test():
        async with site(answer) as url, http() as session:
            assert await failure_of(Http(f"{url}/wake"), session) == f"POST {url}/wake answered {status}"

    play(test())


def test_a_redirect_is_not_followed(play, http):
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        raise web.HTTPFound("/elsewhere")

    async def test():
        async with site(answer) as url, http() as session:
            assert "answered 302: redirects are not followed" in await failure_of(Http(f"{url}/wake"), session)
        assert seen == ["/wake"]

    play(test())


def test_an_answer_that_does_not_come_is_not_waited_for(play, http):
    async def answer(request: web.Request) -> web.Response:
        await asyncio.Event().wait()

    async def test():
        async with site(answer) as url, http() as session:
            assert (await failure_of(Http(url), session, 0.1)).endswith("gave no answer within 0.1 s")

    play(test())


def test_a_body_that_never_ends_is_not_read(play, http):
    async def answer(request: web.Request) -> web.StreamResponse:
        endless = web.StreamResponse()
        await endless.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await endless.write(b"x" * 65536)

    async def test():
        async with site(answer) as url, http() as session:
            await call(Http(url), session, TIMEOUT_S)

    play(test())


def test_no_failure_tells_a_secret(play, http):
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=403)

    async def test():
        async with site(refuse) as url, http() as session:
            secret = {"Authorization": "Bearer s3cret"}
            host = url.removeprefix("http://")
            for step in (
                Http(f"http://u:s3cret@{host}/wake?key=s3cret#s3cret", "POST", {}, "s3cret"),
                Http(f"http://{host}/wake?key=s3cret", "POST", secret, "s3cret"),
                Http("http://u:s3cret@127.0.0.1:9/wake?key=s3cret", "POST", secret),
                Http("http://u:s3cret@no-such-host.invalid/?key=s3cret"),
                Http("http://u:s3cret@127.0.0.1:99999999/?key=s3cret"),
                Http("ftp://u:s3cret@127.0.0.1/?key=s3cret"),
                Http("http://?key=s3cret"),
                Http(url, "POST", {"X": "s3cret\nX: 2"}),
            ):
                assert "s3cret" not in await failure_of(step, session)

    play(test())


def test_a_refused_connection_says_so(play, http):
    async def test():
        async with http() as session:
            told = await failure_of(Http("http://127.0.0.1:9/wake"), session)
            assert told == "POST http://127.0.0.1:9/wake failed: Connection refused"

    play(test())
