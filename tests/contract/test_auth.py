"""Who may call: the route table against every kind of caller, and the open broker's limits."""

from __future__ import annotations

import json
import re

import pytest

from broker.http.routes import ROUTES
from tests.support import commands
from tests.support.brokers import replica
from tests.support.errors import told
from tests.support.places import ServerPlace
from tests.support.provider import BASE, Provider
from tests.support.raw import send
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

CALLERS = {"client": "client", "publisher": "publisher", "admin": "admin"}
#: Deleting asks for any token at the door and for the owner's at the row.
DOORS = {("DELETE", BASE + "/{llm}"): "publisher", ("DELETE", "/api/v1/tool-servers/{server}"): "publisher"}


def calls():
    """Each route as (name, role, method, path, body); none of them names anything that exists."""
    for route in ROUTES:
        path = re.sub(r"\{[^}]*\}", "nothing", route.path.replace("{model:.+}", "{model}").replace("{turn:[0-9]+}", "1"))
        role = DOORS.get((route.method, re.sub(r":[^}]*\}", "}", route.path)), route.role)
        yield role, route.method, path, {} if route.method == "POST" else None


async def answers(broker, token: str | None):
    """(role, "METHOD path", status, JSON) of every route for that caller."""
    for role, method, path, body in calls():
        status, answer, _ = await broker.call(
            method, path, body, headers={"X-Provider-Session": "no-such-session", **bearer(token)}
        )
        yield role, f"{method} {path}", status, answer


async def test_without_a_token_only_the_public_routes_answer(redis_at):
    async with tokens(redis_at, someone="client"), replica(redis_at) as broker:
        async for role, call, status, _ in answers(broker, None):
            assert status == (200 if role == "public" else 401), call


async def test_an_unknown_token_is_401_in_the_error_shape(redis_real):
    async with tokens(redis_real, someone="client"), replica(redis_real) as broker:
        async for role, call, status, answer in answers(broker, "rv_made-up"):
            assert status == (200 if role == "public" else 401), call
            if role != "public":
                assert told(answer).type in ("authentication_error", "") and told(answer).code == "invalid_token"


@pytest.mark.parametrize("caller", CALLERS)
async def test_a_role_opens_its_routes_and_no_other(redis_real, caller):
    async with tokens(redis_real, someone=CALLERS[caller]) as given, replica(redis_real) as broker:
        async for role, call, status, answer in answers(broker, given.someone):
            if role in ("public", "", caller) or caller == "admin":
                assert status not in (401, 403) and status < 500, (call, answer)
            else:
                assert status == 403 and told(answer).type in ("permission_error", ""), call
                assert role in told(answer).message


@pytest.mark.parametrize("scheme", ["Basic {}", "{}", "Bearer", "Bearer  ", "Token {}"])
async def test_a_token_is_read_from_a_bearer_header_or_x_api_key_only(redis_real, scheme):
    async with tokens(redis_real, someone="admin") as given, replica(redis_real) as broker:
        status, _, _ = await broker.call("GET", BASE, headers={"Authorization": scheme.format(given.someone)})
        assert status == 401
        assert (await broker.call("GET", f"{BASE}?token={given.someone}&access_token={given.someone}"))[0] == 401
        assert (await broker.call("GET", BASE, headers={"Authorization": f"bearer {given.someone}"}))[0] == 200


async def test_a_token_may_come_as_anthropics_clients_send_it(redis_real):
    async with tokens(redis_real, someone="client") as given, replica(redis_real) as broker:
        for path in (BASE, "/api/tags"):
            assert (await broker.call("GET", path, headers={"x-api-key": given.someone}))[0] == 200
            assert (await broker.call("GET", path, headers={"x-api-key": "rv_made-up"}))[0] == 401
        both = {"x-api-key": "a key for someone else", **bearer(given.someone)}
        assert (await broker.call("GET", BASE, headers=both))[0] == 200


async def test_a_token_of_strange_bytes_is_401(redis_real):
    async with tokens(redis_real, someone="admin"), replica(redis_real) as broker:
        answer = await send(broker.url, b"GET /api/v1/llms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        assert answer.status == 401 and answer.json["error"]["code"] == "invalid_token"


async def test_a_tokens_own_roles_are_named_in_the_refusal(redis_real):
    async with tokens(redis_real, someone="client+publisher") as given, replica(redis_real) as broker:
        assert (await broker.call("POST", f"{BASE}/_provider-register", {}, headers=bearer(given.someone)))[0] == 422
        assert (await broker.call("POST", "/v1/chat/completions", {"model": "x"}, headers=bearer(given.someone)))[0] == 404


async def test_the_first_token_closes_an_open_broker_within_seconds(redis_real):
    async with replica(redis_real) as broker:
        assert (await broker.call("GET", BASE))[0] == 200
        async with tokens(redis_real, someone="client") as given:
            async def closed() -> bool:
                return (await broker.call("GET", BASE))[0] == 401

            await eventually(closed, 4.0)
            assert (await broker.call("GET", BASE, headers=bearer(given.someone)))[0] == 200


async def test_a_revoked_token_stops_within_three_seconds(redis_real):
    async with tokens(redis_real, someone="client", other="client") as given, replica(redis_real) as broker:
        assert (await broker.call("GET", BASE, headers=bearer(given.someone)))[0] == 200
        assert await broker.broker.store.tokens.revoke(given.ids["someone"])

        async def stopped() -> bool:
            return (await broker.call("GET", BASE, headers=bearer(given.someone)))[0] == 401

        await eventually(stopped, 3.5)
        assert (await broker.call("GET", BASE, headers=bearer(given.other)))[0] == 200


async def test_a_token_of_another_namespace_neither_enters_nor_closes_this_one(redis_real):
    elsewhere = ServerPlace(redis_real.server)
    async with tokens(elsewhere, stranger="admin") as theirs:
        async with replica(redis_real) as broker:
            assert (await broker.call("GET", BASE))[0] == 200
            assert not await broker.broker.store.tokens.revoke(theirs.ids["stranger"])
            assert [row["name"] for row in await broker.broker.store.tokens.list()] == []
        async with tokens(redis_real, mine="client"), replica(redis_real) as broker:
            assert (await broker.call("GET", BASE, headers=bearer(theirs.stranger)))[0] == 401


async def test_revoking_the_last_token_does_not_open_the_broker_again(redis_real):
    async with tokens(redis_real, someone="client") as given:
        async with replica(redis_real) as broker:
            assert await broker.broker.store.tokens.revoke(given.ids["someone"])
        async with replica(redis_real) as broker:
            assert (await broker.call("GET", BASE))[0] == 401


async def test_auth_required_asks_for_a_token_though_there_is_none(redis_real):
    async with replica(redis_real, auth="required") as broker:
        assert (await broker.call("GET", BASE))[0] == 401
        assert (await broker.call("GET", "/healthz"))[0] == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:8080", "[::1]", "my.box:80"])
async def test_an_open_broker_answers_to_the_names_of_this_machine(redis_real, host):
    async with replica(redis_real, allowed_hosts="my.box, other.box") as broker:
        assert (await broker.call("GET", BASE, headers={"Host": host}))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "127.0.0.1.nip.io", "10.0.0.1", "", "[2001:db8::1]:80"])
async def test_an_open_broker_answers_to_no_other_host_name(redis_real, host):
    async with replica(redis_real) as broker:
        status, body, _ = await broker.call("GET", BASE, headers={"Host": host})
        assert status == 403 and "BROKER_ALLOWED_HOSTS" in body["error"]["message"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200), ("http://127.0.0.1", 200), ("https://app.example", 200), ("http://[::1]:99", 200),
        ("https://evil.example", 403), ("null", 403), ("http://localhost.evil.example", 403), ("https://app.example.evil", 403),
    ],
)
async def test_an_open_broker_refuses_pages_from_elsewhere(redis_real, origin, status):
    async with replica(redis_real, cors_origins="https://app.example") as broker:
        assert (await broker.call("GET", BASE, headers={"Origin": origin}))[0] == status


async def test_an_origin_of_strange_bytes_is_403(redis_real):
    async with replica(redis_real) as broker:
        answer = await send(broker.url, b"GET /api/v1/llms HTTP/1.1\r\nHost: localhost\r\nOrigin: http://\xff\r\n\r\n")
        assert answer.status == 403 and answer.json["error"]["type"] == "permission_error"


async def test_with_tokens_any_host_name_will_do(redis_real):
    async with tokens(redis_real, someone="client") as given, replica(redis_real) as broker:
        assert (await broker.call("GET", BASE, headers={"Host": "llm.example", **bearer(given.someone)}))[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_serve_refuses_to_listen_wider_without_tokens(redis_real, host):
    ended = await commands.broker(redis_real, "serve", "--host", host, "--port", "0")
    assert ended.code == 1 and "broker tokens create" in ended.err and "Traceback" not in ended.err


async def test_tokens_are_made_listed_and_revoked_by_command(redis_real):
    made = await commands.broker(redis_real, "tokens", "create", "--role", "publisher", "--owner", "alice", "--name", "gpu box", "--json")
    token = json.loads(made.out)
    try:
        assert made.code == 0 and token["roles"] == ["publisher"] and token["owner"] == "alice"
        async with replica(redis_real) as broker, Provider(broker, "m", token=token["token"], connect=False):
            pass
        listed = await commands.broker(redis_real, "tokens", "list", "--json")
        assert [(row["id"], row["name"], row["owner"]) for row in json.loads(listed.out)] == [(token["id"], "gpu box", "alice")]
        assert token["token"] not in listed.out
        assert not [key for key in await redis_real.keys() if token["token"] in str(await redis_real.read(key.decode()))]
    finally:
        revoked = await commands.broker(redis_real, "tokens", "revoke", token["id"])
    assert revoked.code == 0
    assert json.loads((await commands.broker(redis_real, "tokens", "list", "--json")).out) == []
    again = await commands.broker(redis_real, "tokens", "revoke", token["id"])
    assert again.code == 1 and token["id"] in again.err and "Traceback" not in again.err


async def test_a_token_that_has_expired_is_401(redis_real):
    async with tokens(redis_real, other="client"), replica(redis_real) as broker:
        store = broker.broker.store.tokens
        token_id, token = await store.create(name="short", roles=["client"], owner="a", expires_s=1)
        assert (await broker.call("GET", BASE, headers=bearer(token)))[0] == 200

        async def expired() -> bool:
            return (await broker.call("GET", BASE, headers=bearer(token)))[0] == 401

        await eventually(expired, 4.5)
        assert token_id not in [row["id"] for row in await store.list()]
