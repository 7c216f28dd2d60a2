"""Secrets: sealed in Redis, bound to their names, never told; kept while an LLM names them."""

from __future__ import annotations

import base64
import logging
import os
import stat
import sys

import pytest

from broker.errors import NoSecretKey
from broker.vault import BadKey, Unreadable, Vault, read_keys
from tests.support.backend import Backend
from tests.support.brokers import replica
from tests.support.commands import broker as broker_command
from tests.support.public import HERE, KEY, LLMS, OTHER_KEY, SECRETS, make_llm, put_secret
from tests.support.tokens import bearer, tokens

VALUE = "sk-very-secret-1234567890"


async def everything(place) -> str:
    return repr([(key, await place.read(key.decode())) for key in await place.keys()])


async def test_a_secret_is_listed_without_its_value(redis_at):
    async with replica(redis_at, **HERE) as broker:
        status, made, _ = await broker.call("PUT", f"{SECRETS}/openai", {"value": VALUE})
        assert status == 201 and made.keys() == {"name", "current", "createdAt", "updatedAt"}
        await put_secret(broker, "a", VALUE)
        status, listed, _ = await broker.call("GET", SECRETS)
        assert status == 200 and [one["name"] for one in listed] == ["a", "openai"] and listed[1] == made
        assert VALUE not in repr(listed)


async def test_what_is_in_redis_does_not_hold_the_value(redis_at):
    async with replica(redis_at, **HERE) as broker:
        await put_secret(broker, "openai", VALUE)
        kept = await redis_at.read("secret:openai")
        assert set(kept) == {b"sealed", b"key", b"createdAt", b"updatedAt"}
        assert VALUE not in await everything(redis_at) and KEY not in await everything(redis_at)


async def test_a_new_value_replaces_the_old_one(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend() as upstream:
        await make_llm(broker, "gpt", upstream.url, key="sk-old")
        created = (await broker.call("GET", SECRETS))[1][0]["createdAt"]
        status, again, _ = await broker.call("PUT", f"{SECRETS}/gpt", {"value": "sk-new"})
        assert status == 200 and again["createdAt"] == created
        await broker.chat("gpt")
        assert upstream.seen[-1].headers["Authorization"] == "Bearer sk-new"


async def test_a_secret_in_use_is_not_deleted(redis_at):
    async with replica(redis_at, **HERE) as broker:
        await make_llm(broker, "zeta", "http://127.0.0.1:9/v1", key=VALUE)
        await make_llm(broker, "alpha", "http://127.0.0.1:9/v1", apiKeyRef="zeta")
        status, body, _ = await broker.call("DELETE", f"{SECRETS}/zeta")
        assert status == 409 and "alpha, zeta" in body["error"]["message"]
        for llm in ("alpha", "zeta"):
            assert (await broker.call("DELETE", f"{LLMS}/{llm}"))[0] == 204
        assert (await broker.call("DELETE", f"{SECRETS}/zeta"))[0] == 204
        assert (await broker.call("GET", SECRETS))[1] == []
        assert not [key for key in await redis_at.keys() if key.startswith(b"secret")]


async def test_an_unknown_secret_is_404(redis_at):
    async with replica(redis_at, **HERE) as broker:
        status, body, _ = await broker.call("DELETE", f"{SECRETS}/nothing")
        assert status == 404 and body["error"]["code"] == "unknown_secret"


async def test_a_value_copied_under_another_name_opens_no_more(redis_at):
    async with replica(redis_at, **HERE) as broker, Backend() as upstream:
        await put_secret(broker, "theirs", VALUE)
        await make_llm(broker, "gpt", upstream.url, key="sk-mine")
        redis = redis_at.redis()
        stolen = (await redis_at.read("secret:theirs"))[b"sealed"]
        await redis.hset(f"rv:{{{redis_at.namespace}}}:secret:gpt", "sealed", stolen)
        await redis.aclose()
        status, body, headers = await broker.chat("gpt")
        assert status == 503 and body["error"]["code"] == "secret_unreadable" and not upstream.seen
        assert VALUE not in repr(body)


async def test_without_a_key_secrets_are_refused_with_what_to_do(redis_at):
    async with replica(redis_at) as broker:
        status, body, _ = await broker.call("PUT", f"{SECRETS}/openai", {"value": VALUE})
        assert status == 409 and body["error"]["code"] == "no_secret_key" and "BROKER_SECRET_KEY" in body["error"]["message"]
        assert not await redis_at.read("secrets")


async def test_keys_rotate_the_first_seals_and_all_open(redis_at):
    async with Backend() as upstream:
        async with replica(redis_at, **HERE) as broker:
            await make_llm(broker, "gpt", upstream.url, key=VALUE)
        async with replica(redis_at, upstream_allow="127.0.0.1", secret_key=f"{OTHER_KEY}, {KEY}") as broker:
            assert [one["current"] for one in (await broker.call("GET", SECRETS))[1]] == [False]
            assert (await broker.chat("gpt"))[0] == 200
            await put_secret(broker, "gpt", VALUE)
            assert [one["current"] for one in (await broker.call("GET", SECRETS))[1]] == [True]
        async with replica(redis_at, upstream_allow="127.0.0.1", secret_key=OTHER_KEY) as broker:
            assert (await broker.chat("gpt"))[0] == 200
        async with replica(redis_at, **HERE) as broker:
            status, body, _ = await broker.chat("gpt")
            assert status == 503 and "key that this broker does not have" in body["error"]["message"]


@pytest.mark.parametrize("value", ["", " sk", "sk ", "s\nk", "s\rk", "schlüssel", "x" * 16_385, 5, None])
async def test_a_value_that_fits_no_header_is_refused_and_not_repeated(redis_real, value):
    async with replica(redis_real, **HERE) as broker:
        status, body, _ = await broker.call("PUT", f"{SECRETS}/openai", {"value": value})
        assert status in (400, 422) and len(repr(body)) < 400
        assert not value or str(value) not in body["error"]["message"] or len(str(value)) < 4


@pytest.mark.parametrize("name", ["_x", "a%2Fb", "a%20b", "%C3%A9", "x" * 129])
async def test_a_secrets_name_is_plain(redis_real, name):
    async with replica(redis_real, **HERE) as broker:
        assert (await broker.call("PUT", f"{SECRETS}/{name}", {"value": VALUE}))[0] in (404, 422)


async def test_secrets_are_admins(redis_at):
    async with tokens(redis_at, root="admin", pub="publisher", app="client") as given, replica(redis_at, **HERE) as broker:
        for token, codes in ((given.pub, [403, 403, 403]), (given.app, [403, 403, 403]), (given.root, [201, 200, 204])):
            calls = [("PUT", f"{SECRETS}/s", {"value": VALUE}), ("GET", SECRETS, None), ("DELETE", f"{SECRETS}/s", None)]
            assert [(await broker.call(*call, headers=bearer(token)))[0] for call in calls] == codes


async def test_no_log_line_holds_a_value(redis_real, caplog):
    caplog.set_level(logging.DEBUG)
    async with replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", "http://127.0.0.1:9/v1", key=VALUE)
        await broker.chat("gpt")
        assert VALUE not in caplog.text and KEY not in repr(broker.broker.settings)


def test_a_key_file_is_made_once_private_and_shared(tmp_path):
    file = tmp_path / "secret.key"
    first, second = Vault("main", "", file), Vault("main", "", file)
    assert first.current_key == "" and not file.exists()
    sealed, key = first.seal("a", VALUE)
    assert second.open("a", sealed, key) == VALUE and first.current_key == second.current_key == key
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_file_that_cannot_be_made_or_read_is_told(tmp_path):
    with pytest.raises(NoSecretKey, match="BROKER_SECRET_KEY"):
        Vault("main", "", tmp_path / "nowhere" / "secret.key").seal("a", VALUE)
    (tmp_path / "secret.key").write_text("torn")
    with pytest.raises(NoSecretKey, match="not 32 bytes"):
        Vault("main", "", tmp_path / "secret.key").seal("a", VALUE)


def test_a_namespace_is_part_of_the_bond():
    sealed, key = Vault("one", KEY, None).seal("a", VALUE)
    with pytest.raises(Unreadable):
        Vault("two", KEY, None).open("a", sealed, key)


@pytest.mark.parametrize("sealed", ["", "not base64", "AAAA"])
def test_a_damaged_value_is_told(sealed):
    vault = Vault("main", KEY, None)
    with pytest.raises(Unreadable, match="damaged"):
        vault.open("a", sealed, vault.current_key)


@pytest.mark.parametrize("text", ["short", KEY + "," + "x", KEY[:-4], "!" * 44])
def test_a_key_of_another_form_is_refused_and_not_repeated(text):
    with pytest.raises(BadKey, match="openssl rand") as told:
        read_keys(text, "BROKER_SECRET_KEY")
    assert text not in str(told.value)


def test_both_alphabets_and_no_padding_are_read():
    key = os.urandom(32)
    ids = {next(iter(read_keys(form(key).decode().rstrip("="), "x"))) for form in (base64.b64encode, base64.urlsafe_b64encode)}
    assert len(ids) == 1


async def test_a_broker_with_a_bad_key_does_not_start(redis_real):
    ended = await broker_command(redis_real, "serve", "--port", "0", secret_key="short")
    assert ended.code == 1 and "BROKER_SECRET_KEY" in ended.err and "Traceback" not in ended.err
