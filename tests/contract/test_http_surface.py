"""The edge itself: health, metrics, the description, CORS, unknown paths and methods."""

from __future__ import annotations

import asyncio
import re

import pytest

from broker.http.routes import ROUTES
from tests.support.brokers import replica
from tests.support.provider import BASE, Provider
from tests.support.rows import put_public_llm
from tests.support.threads import BOT, ask, make_thread, say
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

APP = {"Origin": "https://app.example"}


async def test_healthz_says_that_the_process_lives(redis_at):
    async with replica(redis_at) as broker:
        status, body, headers = await broker.call("GET", "/healthz")
        assert status == 200 and body["status"] == "ok" and body["version"]
        assert headers["X-Request-Id"] and headers["Content-Type"].startswith("application/json")


async def test_readyz_says_that_redis_answers(redis_at):
    async with replica(redis_at) as broker:
        assert (await broker.call("GET", "/readyz"))[:2] == (200, {"status": "ready"})


async def test_readyz_is_503_while_shutting_down_and_healthz_is_not(redis_real):
    async with replica(redis_real) as broker:
        await broker.broker.drain(0)
        status, body, _ = await broker.call("GET", "/readyz")
        assert status == 503 and body["error"]["code"] == "not_ready"
        assert (await broker.call("GET", "/healthz"))[0] == 200
        status, body, headers = await broker.call("GET", BASE)
        assert status == 503 and headers["Retry-After"] == "1" and body["error"]["type"] == "server_error"


async def test_readyz_is_503_while_redis_is_away(redis_real):
    async with replica(redis_real) as broker:
        for link in broker.broker.store._links:
            await link.close()
        assert (await broker.call("GET", "/readyz"))[0] == 503
        assert (await broker.call("GET", "/healthz"))[0] == 200


async def test_metrics_are_in_the_prometheus_format(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", "n", initialStatus="hibernating"):
        await put_public_llm(redis_at, "gpt")
        await broker.call("GET", "/nowhere")
        status, text, headers = await broker.call("GET", "/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = text.decode().splitlines()
        assert 'broker_llms{status="hibernating"} 2.0' in lines and 'broker_llms{status="active"} 1.0' in lines
        assert "broker_channels 1.0" in lines and 'broker_http_answers_total{status="404"} 1.0' in lines
        assert all(re.fullmatch(r"#.*|\w+(\{[^}]*\})? [0-9.eE+-]+|\w+\{.*le=\"\+Inf\".*\} .*", line) for line in lines)


async def test_metrics_count_requests_by_how_they_ended(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        asking = asyncio.create_task(broker.chat("m"))
        await provider.answer(await provider.next())
        await asking
        text = (await broker.call("GET", "/metrics"))[1].decode()
        assert 'broker_requests_total{operation="chat",outcome="ok"} 1.0' in text
        assert "broker_requests_running 0.0" in text


async def test_metrics_count_turns_by_how_they_ended(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await ask(broker, provider, thread)
        asking = asyncio.create_task(say(broker, thread))
        await provider.fail(await provider.next(), "the GPU fell off", "backend_error")
        await asking
        text = (await broker.call("GET", "/metrics"))[1].decode()
        for outcome in ("ok", "backend_error"):
            assert f'broker_requests_total{{operation="turn",outcome="{outcome}"}} 1.0' in text
        assert 'broker_request_seconds_count{operation="turn"} 2.0' in text


async def test_codes_that_backends_make_up_do_not_fill_the_metrics(redis_real):
    async with replica(redis_real) as broker, Provider(broker, "m") as provider:
        for number in range(80):
            asking = asyncio.create_task(broker.chat("m"))
            await provider.fail(await provider.next(), "no", f"made_up_{number}")
            await asking
        text = (await broker.call("GET", "/metrics"))[1].decode()
        assert len(re.findall(r"broker_requests_total.*made_up_", text)) < 64
        assert 'broker_requests_total{operation="chat",outcome="other"}' in text


async def test_openapi_describes_every_route(redis_real):
    async with replica(redis_real) as broker:
        status, document, _ = await broker.call("GET", "/openapi.json")
        described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
        assert status == 200 and document["openapi"] == "3.1.0"
        assert described == {(route.method, re.sub(r":[^}]*\}", "}", route.path)) for route in ROUTES}


async def test_openapi_refers_only_to_what_it_holds(redis_real):
    async with replica(redis_real) as broker:
        _, document, _ = await broker.call("GET", "/openapi.json")
        references = set(re.findall(r"'\$ref': '([^']+)'", str(document)))
        schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert references and references <= schemas
        names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
        assert len(names) == len(set(names))
        for path, methods in document["paths"].items():
            for operation in methods.values():
                assert operation["summary"] and "default" in operation["responses"]
                assert [p["name"] for p in operation.get("parameters", [])] == re.findall(r"\{(\w+)\}", path)


async def test_an_unknown_path_is_404_in_the_error_shape(redis_real):
    async with replica(redis_real) as broker:
        for method, path in [("GET", "/"), ("POST", "/v1/chat"), ("GET", "/api/v1/llms/"), ("GET", "/api/v1/llms/a/b"), ("PUT", "/x")]:
            status, body, headers = await broker.call(method, path)
            assert status == 404 and body["error"]["code"] == "not_found" and headers["X-Request-Id"], path


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/chat/completions", "POST"), ("POST", f"{BASE}/m", "DELETE, GET, PATCH, PUT"), ("DELETE", "/healthz", "GET"), ("PATCH", BASE, "GET, POST")],
)
async def test_a_wrong_method_is_405_naming_the_right_ones(redis_real, method, path, allowed):
    async with replica(redis_real) as broker:
        status, body, headers = await broker.call(method, path)
        assert status == 405 and body["error"]["code"] == "method_not_allowed"
        named = {name.strip() for name in headers["Allow"].split(",")}
        assert named - {"HEAD"} == set(allowed.split(", ")) and allowed.split(", ")[0] in body["error"]["message"]


async def test_every_answer_has_a_request_id_of_its_own(redis_real):
    async with replica(redis_real) as broker:
        ids = [(await broker.call("GET", path))[2]["X-Request-Id"] for path in ("/healthz", BASE, "/nowhere", f"{BASE}/nothing")]
        assert len(set(ids)) == 4


async def test_without_the_setting_no_origin_is_allowed(redis_real):
    async with replica(redis_real) as broker:
        _, _, headers = await broker.call("GET", "/healthz", headers={"Origin": "http://localhost:3000"})
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("setting", ["https://app.example", "https://other.example, https://app.example", "*"])
async def test_cors_allows_the_origins_that_the_setting_names(redis_real, setting):
    async with replica(redis_real, cors_origins=setting) as broker:
        for path, wanted in [(BASE, 200), (f"{BASE}/nothing", 404)]:
            status, _, headers = await broker.call("GET", path, headers=APP)
            assert status == wanted and headers["Access-Control-Allow-Origin"] == APP["Origin"]
            assert "Origin" in headers["Vary"] and "X-Request-Id" in headers["Access-Control-Expose-Headers"]


async def test_cors_allows_no_other_origin(redis_real):
    async with tokens(redis_real, someone="client") as given, replica(redis_real, cors_origins="https://other.example") as broker:
        status, _, headers = await broker.call("GET", BASE, headers={**APP, **bearer(given.someone)})
        assert status == 200 and "Access-Control-Allow-Origin" not in headers


async def test_a_preflight_needs_no_token_and_names_what_is_asked_for(redis_real):
    asked = {**APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    async with tokens(redis_real, someone="client"), replica(redis_real, cors_origins="https://app.example") as broker:
        status, body, headers = await broker.call("OPTIONS", "/v1/chat/completions", headers=asked)
        assert status == 204 and body is None and headers["Access-Control-Allow-Origin"] == APP["Origin"]
        assert "POST" in headers["Access-Control-Allow-Methods"]
        assert headers["Access-Control-Allow-Headers"] == "authorization,content-type"


async def test_a_preflight_from_another_origin_allows_nothing(redis_real):
    asked = {**APP, "Access-Control-Request-Method": "POST"}
    async with replica(redis_real) as broker:
        _, _, headers = await broker.call("OPTIONS", "/v1/chat/completions", headers=asked)
        assert not [name for name in headers if name.startswith("Access-Control-")]


async def test_a_stream_carries_its_cors_headers(redis_real):
    async with replica(redis_real, cors_origins="*") as broker, Provider(broker, "m") as provider:
        asking = asyncio.create_task(broker.chat("m", headers=APP, stream=True))
        frame = await provider.next()
        await provider.chunk(frame, "[DONE]", done=True)
        assert (await asking)[2]["Access-Control-Allow-Origin"] == APP["Origin"]


async def test_a_channel_gets_a_comment_at_once_and_then_at_least_as_often_as_said(redis_real):
    async with replica(redis_real, channel_ping_seconds=0.05) as broker, Provider(broker, "m", connect=False) as provider:
        async with broker.http.get(f"{broker.url}{BASE}/_provider-stream", headers=provider.headers) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            lines = []
            async with asyncio.timeout(20):
                while len(lines) < 4:
                    line = await response.content.readline()
                    if line.strip():
                        lines.append(line)
            assert all(line.startswith(b":") for line in lines)


async def test_two_replicas_answer_alike(redis_at):
    async with replica(redis_at) as one, replica(redis_at) as two, Provider(one, "m") as provider:
        assert await two.llm("m") == await one.llm("m")
        await provider.close()

        async def both_inactive() -> bool:
            return [(await broker.llm("m"))["status"] for broker in (one, two)] == ["inactive"] * 2

        await eventually(both_inactive)
