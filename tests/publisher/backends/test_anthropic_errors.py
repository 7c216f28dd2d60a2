"""What the anthropic backend makes of requests and answers that are not as they should be."""

from __future__ import annotations

import json
import socket

import pytest

from broker.dialects.broken import BrokenAnswer
from publisher.failures import BackendBroken, BackendUnreachable, TaskFailed
from tests.publisher.backends.anthropic_asking import ask, backend_at, pair
from tests.support.engines.anthropic import Script

async def test_what_cannot_be_said_is_answered_here_and_never_sent():
    async with pair() as (server, backend):
        for streaming in (False, True):
            status, _, body = await ask(backend, streaming, n=2)
            error = json.loads(body)["error"]
            assert status == 400 and "n" in error.pop("message")
            assert error == {"type": "invalid_request_error", "code": "unsupported_parameter", "param": "n"}
        assert not server.seen


@pytest.mark.parametrize("operation", ["completions", "embeddings", "later"])
async def test_it_chats_and_nothing_else(operation):
    async with pair() as (server, backend):
        with pytest.raises(TaskFailed, match="only chats") as failed:
            await backend.infer(operation, b"{}", False)
        assert failed.value.code == "unsupported_operation" and not server.seen


@pytest.mark.parametrize(
    "status, said, error",
    [
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "bad ü"}}, ("bad ü", "invalid_request_error")),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, ("Overloaded", "overloaded_error")),
        (500, {"error": {"code": 500, "message": "llama", "type": "server_error"}}, ("llama", "server_error")),
        (404, {"error": "model not found"}, ("model not found", "api_error")),
        (503, {"error": {"message": 5}}, ("the backend answered 503 Service Unavailable without a reason", "api_error")),
        (502, ["x"], ("the backend answered 502 Bad Gateway without a reason", "api_error")),
    ],
)
async def test_an_error_keeps_its_status_and_its_reason(status, said, error):
    async with pair(Script(status=status, error=said, headers={"Retry-After": "7"})) as (_, backend):
        for streaming in (False, True):
            got, headers, body = await ask(backend, streaming)
            told = json.loads(body)["error"]
            assert (got, headers) == (status, {"content-type": "application/json", "retry-after": "7"})
            assert (told["message"], told["type"], told["param"]) == (*error, None)


@pytest.mark.parametrize("raw", [b"", b"<h1>oops</h1>", b'{"x":' + b"[" * 9000, b"\xff"])
async def test_an_error_that_is_not_json_is_still_an_error(raw):
    async with pair(Script(status=502, raw=raw, content_type="text/html")) as (_, backend):
        status, headers, body = await ask(backend)
        assert (status, headers) == (502, {"content-type": "application/json"})
        assert json.loads(body)["error"]["message"] == "the backend answered 502 Bad Gateway without a reason"


async def test_a_wrong_key_is_the_servers_word():
    async with pair(key="sk-wrong") as (server, backend):
        server.key = "sk-right"
        status, _, body = await ask(backend)
        assert status == 401 and json.loads(body)["error"]["type"] == "authentication_error"
        assert b"sk-" not in body


@pytest.mark.parametrize("raw", [b"", b"<h1>login</h1>", b"{}", b'{"type":"message"}', b'{"choices":[]}', b'{"x":' + b"[" * 9000])
async def test_an_answer_that_is_no_message_is_a_broken_backend(raw):
    async with pair(Script(raw=raw, content_type="text/html")) as (_, backend):
        with pytest.raises(BrokenAnswer, match="not a message"):
            await ask(backend)


async def test_an_answer_that_is_far_too_large_is_not_held():
    async with pair(Script(raw=b" " * (65 << 20), content_type="application/json")) as (_, backend):
        with pytest.raises(BrokenAnswer, match="larger than 64 MiB"):
            await ask(backend)


async def test_a_redirect_is_not_followed():
    async with pair(Script(status=307, headers={"Location": "http://127.0.0.1:9/"}), key="sk-secret") as (server, backend):
        with pytest.raises(BackendBroken, match="redirects") as broken:
            await ask(backend)
        assert len(server.seen) == 1 and "sk-secret" not in str(broken.value)


async def test_a_server_that_is_away_was_never_asked():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with backend_at(f"http://ann:pass@127.0.0.1:{unused.getsockname()[1]}", "sk-secret") as backend:
            for asking in (ask(backend), backend.models()):
                with pytest.raises(BackendUnreachable) as away:
                    await asking
                assert "sk-secret" not in str(away.value) and "pass" not in str(away.value)
            assert not await backend.available("m", False)


async def test_a_key_that_fits_no_header_is_not_repeated():
    async with pair(key="sk-secret\nx") as (server, backend):
        for asking in (ask(backend), backend.models()):
            with pytest.raises(BackendBroken, match="check the provider's url and apiKey") as broken:
                await asking
            assert "sk-secret" not in str(broken.value)
        assert not await backend.available("m", False) and not server.seen


async def test_a_server_that_speaks_no_http_is_broken():
    async with pair(Script(malformed=True)) as (_, backend):
        with pytest.raises(BackendBroken, match="no proper answer"):
            await ask(backend)
