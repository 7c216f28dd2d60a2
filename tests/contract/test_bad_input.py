"""Whatever a caller sends: an answer in the error shape that says what to do, never a 500."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.http.routes import ROUTES
from tests.support.brokers import replica
from tests.support.errors import told
from tests.support.provider import BASE, Provider
from tests.support.raw import send

REGISTER = f"{BASE}/_provider-register"
#: The calls that read a JSON body, each with a path that names nothing.
POSTS = [route.path.replace("{llm}", "m").replace("{task}", "t") for route in ROUTES if route.method == "POST"]
DEEP = b'{"providers":[{"name":"m","type":"openai","extraConfig":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}]}"


def is_error(status: int, body: object) -> bool:
    """An answer in the error shape of its front."""
    return status >= 400 and told(body) is not None


@pytest.fixture(autouse=True)
def no_bugs(caplog):
    """No handler may have ended in an exception, whatever the client was told."""
    yield
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    # That nobody asked for an exception is said when it is collected: it may be an earlier test's.
    assert not [record for record in errors if "was never retrieved" not in record.getMessage()], caplog.text


@pytest.mark.parametrize("path", POSTS)
async def test_what_is_no_json_is_refused(redis_real, path):
    bodies = [b"", b"{", b"not json", b'{"a":1}}', b"\xff\xfe{", b'{"name":"\xff"}', b"[]", b"1", b'"text"', b"null", b"\x00", b"NaN", DEEP]
    async with replica(redis_real) as broker:
        for body in bodies:
            status, answer, _ = await broker.call("POST", path, body, headers={"X-Provider-Session": "no-such-session"})
            if path.endswith("_provider-results") and status == 200:
                # Each frame has an answer of its own.
                assert {line["status"] for line in answer["results"]} <= {404, 422}, (body[:40], answer)
            else:
                assert 400 <= status < 500 and is_error(status, answer), (body[:40], status, answer)


@pytest.mark.parametrize(
    "body",
    [
        {"providers": "m"}, {"providers": [1]}, {"providers": [{"type": "openai"}]}, {"providers": [{"name": 5}]},
        {"providers": [{"name": "m", "slots": "two"}]}, {"providers": [{"name": "m", "slots": 1.5}]},
        {"providers": [{"name": "m", "extraConfig": []}]}, {"agents": [{"llmName": "m"}]}, {"replace": "yes"},
        {"providerSessionId": 5, "providers": [{"name": "m"}]}, {"providers": {"name": "m"}},
    ],
)
async def test_a_wrong_type_is_400_and_names_the_field(redis_real, body):
    async with replica(redis_real) as broker:
        status, answer, _ = await broker.call("POST", REGISTER, body)
        assert status == 400 and "`" in answer["error"]["message"]
        assert (await broker.call("GET", BASE))[1] == []


async def test_unknown_fields_are_ignored(redis_real):
    entry = {"name": "m", "type": "openai", "colour": "red", "status": "inactive", "id": "mine", "kind": "public", "owner": "x"}
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("POST", REGISTER, {"providers": [entry], "later": {"a": 1}})
        assert status == 201 and body["llms"][0]["kind"] == "virtual" and body["llms"][0]["id"] != "mine"


@pytest.mark.parametrize("depth", [10, 100, 300, 500, 700, 900, 950, 980, 990, 1000])
async def test_a_nested_value_that_is_taken_can_always_be_read_again(redis_real, depth):
    config = b'{"a":' * depth + b"1" + b"}" * depth
    async with replica(redis_real) as broker:
        status, answer, _ = await broker.call("POST", REGISTER, b'{"providers":[{"name":"m","extraConfig":%s}]}' % config)
        assert status == 201 or is_error(status, answer) and status < 500, answer
        assert (await broker.call("GET", BASE))[0] == 200


@pytest.mark.parametrize("number", ["1e999", "1" * 400, str(2**64), str(-(2**70)), "1e-999", "0.1", "-0", "1" * 5000])
async def test_a_number_that_is_taken_can_always_be_read_again(redis_real, number):
    async with replica(redis_real) as broker:
        body = f'{{"providers":[{{"name":"m","extraConfig":{{"n":{number}}}}}]}}'.encode()
        status, answer, _ = await broker.call("POST", REGISTER, body)
        assert status == 201 or is_error(status, answer) and status < 500, answer
        assert (await broker.call("GET", BASE))[0] == 200


@pytest.mark.parametrize("text", ["\\ud800", "\\u0000", "\\uffff", "a\\u2028b", "\\ud83d\\ude00"])
async def test_odd_characters_in_texts_come_back_or_are_refused(redis_real, text):
    async with replica(redis_real) as broker:
        body = f'{{"providers":[{{"name":"m","description":"{text}","extraConfig":{{"{text}":"{text}"}}}}]}}'.encode()
        status, answer, _ = await broker.call("POST", REGISTER, body)
        assert status == 201 or is_error(status, answer) and status < 500, answer
        if status == 201:
            row = await broker.llm("m")
            assert row["description"] == json.loads(f'"{text}"') and row["extraConfig"] == {row["description"]: row["description"]}


@pytest.mark.parametrize(
    ("path", "limit"),
    [(REGISTER, 1 << 20), (f"{BASE}/_provider-heartbeat", 1 << 20), ("/v1/chat/completions", 5000), (f"{BASE}/_provider-results", 6000)],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413(redis_real, path, limit, chunked):
    async def pieces():
        for _ in range(limit // 1000 + 2):
            yield b" " * 1000

    async with replica(redis_real, max_request_bytes=5000, max_result_bytes=6000) as broker:
        data = pieces() if chunked else io.BytesIO(b" " * (limit + 1))
        async with broker.http.post(broker.url + path, data=data, headers={"X-Provider-Session": "no-such-session"}) as response:
            assert response.status == 413 and is_error(413, await response.json())


async def test_a_body_of_just_the_limit_is_read(redis_real):
    async with replica(redis_real, max_request_bytes=5000) as broker:
        body = json.dumps({"model": "nothing"}).encode().ljust(5000)
        assert (await broker.call("POST", "/v1/chat/completions", body))[0] == 404


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "zstd"])
async def test_a_compressed_body_is_415(redis_real, encoding):
    async with replica(redis_real) as broker:
        body = gzip.compress(b'{"model":"m"}')
        text = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = await send(broker.url, text.encode() + body)
        assert answer.status == 415 and is_error(415, answer.json)


@pytest.mark.parametrize("path", [REGISTER, "/v1/chat/completions", f"{BASE}/_provider-results", f"{BASE}/_provider-heartbeat"])
@pytest.mark.parametrize("how", ["length", "chunked", "half"])
async def test_a_body_that_never_arrives_is_408_in_time(redis_real, path, how):
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Provider-Session: no-such-session\r\n".encode()
    rest = {
        "length": b"Content-Length: 20\r\n\r\n", "half": b'Content-Length: 20\r\n\r\n{"mod',
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"mod\r\n",
    }[how]
    async with replica(redis_real, body_seconds=0.2) as broker:
        answer = await send(broker.url, head + rest, limit_s=3)
        assert answer.status == 408 and is_error(408, answer.json) and answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "text",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"NOT HTTP AT ALL\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nbroken header\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET\xff / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["long header", "long path", "no http", "broken header", "negative length", "two lengths", "bad chunk", "two hosts", "path bytes", "method bytes"],
)
async def test_what_is_no_valid_http_is_400_in_the_error_shape(redis_real, text):
    async with replica(redis_real) as broker:
        answer = await send(broker.url, text)
        assert 400 <= answer.status < 500 and is_error(answer.status, answer.json), answer
        assert (await broker.call("GET", "/healthz"))[0] == 200


@pytest.mark.parametrize("path", ["/api/v1/llms/%FF", "/v1/models/%FF%FE", "/api/v1/llms/%00", "/%0d%0aX:%20y", "/v1/models/%ED%A0%80"])
async def test_a_path_of_strange_bytes_is_404(redis_real, path):
    async with replica(redis_real) as broker:
        answer = await send(broker.url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert answer.status == 404 and is_error(404, answer.json)


@pytest.mark.parametrize("header", ["X-Provider-Session", "X-Provider-Instance", "X-Deadline-Seconds", "Origin", "Content-Type", "Accept"])
@pytest.mark.parametrize("route", ["GET /api/v1/llms/_provider-stream", "POST /api/v1/llms/_provider-heartbeat", "GET /v1/nowhere"])
async def test_a_header_of_strange_bytes_is_no_bug(redis_real, header, route):
    async with replica(redis_real) as broker:
        session = b"" if header == "X-Provider-Session" else b"X-Provider-Session: no-such-session\r\n"
        head = f"{route} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{header}: ".encode() + b"\xff\xfe\xc3\r\n"
        answer = await send(broker.url, head + session + b"\r\n")
        assert 400 <= answer.status < 500 and is_error(answer.status, answer.json)


@pytest.mark.parametrize("instance", [b"\xff\xfe", b"x" * 5000])
async def test_an_instance_may_be_any_bytes(redis_real, instance):
    async with replica(redis_real) as broker, Provider(broker, "m", connect=False) as provider:
        text = (
            f"GET {BASE}/_provider-stream HTTP/1.1\r\nHost: localhost\r\nX-Provider-Session: {provider.session}\r\n"
            "X-Provider-Instance: "
        ).encode()
        answer = await send(broker.url, text + instance + b"\r\n\r\n")
        assert answer.status in (200, 400)


@pytest.mark.parametrize("sid", ["x", "a" * 5000, "a b", "}{", "rv:{x}:", "ünïcode-session", "\x00" * 8, "..\n\r"])
async def test_a_session_id_of_any_kind_is_only_unknown(redis_real, sid):
    async with replica(redis_real) as broker:
        for call in ("heartbeat", "goodbye"):
            status, body, _ = await broker.call("POST", f"{BASE}/_provider-{call}", {"providerSessionId": sid})
            assert status == 404 and body["error"]["code"] == "unknown_session"


@pytest.mark.limit_s(90)
async def test_random_json_never_makes_a_bug(redis_real):
    dice = random.Random(7)
    async with replica(redis_real, queue_wait_seconds=0.2, deadline_seconds=0.5) as broker, Provider(broker, "m", slots=1) as provider:
        session = {"X-Provider-Session": provider.session}

        async def shoot(body: dict) -> None:
            path = dice.choice(POSTS)
            status, answer, _ = await broker.call("POST", path, body, headers=session)
            fine = status < 300 or (is_error(status, answer) and (status < 500 or status in (503, 504)))
            assert fine, (path, body, status, answer)

        for _ in range(30):
            await asyncio.gather(*(shoot(_random_body(dice)) for _ in range(10)))
        for path in (BASE, "/v1/models", "/metrics"):
            assert (await broker.call("GET", path))[0] == 200


_WORDS = ("m", "", "_x", "x" * 130, "active", "hibernating", "openai", "\n", "ü", "[DONE]", "data: x\n\n", "YWJj", "superseded")
_FIELDS = (
    "providerSessionId", "providers", "agents", "name", "type", "model", "tier", "slots", "extraConfig", "llmName", "status", "taskId",
    "seq", "chunk", "data", "events", "done", "body", "bodyBase64", "headers", "error", "code", "accept", "stream", "messages",
    "replace", "accepts", "initialStatus", "project", "extras", "input", "encoding_format",
)


def _random_body(dice: random.Random) -> dict:
    return {dice.choice(_FIELDS): _random_value(dice, 0) for _ in range(dice.randrange(6))}


def _random_value(dice: random.Random, depth: int) -> object:
    kind = dice.randrange(9 if depth < 4 else 6)
    if kind < 3:
        return dice.choice(_WORDS)
    if kind < 6:
        return dice.choice([0, 1, -1, 200, 404, 99, 600, 2**63, 1.5, 1e300, True, False, None])
    if kind < 7:
        return [_random_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(_FIELDS): _random_value(dice, depth + 1) for _ in range(dice.randrange(5))}


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(entry=st.dictionaries(st.sampled_from(_FIELDS), _ANY, max_size=6))
def test_a_registration_entry_is_taken_or_refused_never_mangled(entry):
    """Without a broker: the reading of an entry ends in a Refusal or in texts that Redis can keep."""
    from broker.errors import Refusal
    from broker.http.bodies import decode
    from broker.http.provider import _llm
    from broker.wire import Registration

    body = json.dumps({"providers": [{"name": "m", **entry}]}).encode()
    try:
        row = _llm(0, decode(body, Registration).providers[0])
    except Refusal as refusal:
        assert 400 <= refusal.status < 500 and refusal.message
    else:
        assert all(isinstance(value, str) and value.encode() is not None for value in row["fields"].values())
