"""Public LLM rows: made, edited, read and deleted by admins; never at odds with a publisher's."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.brokers import replica
from tests.support.provider import Provider
from tests.support.public import HERE, LLMS, make_llm, put_secret
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

URL = "http://127.0.0.1:9/v1"


def says(body: dict) -> str:
    return body["error"]["message"]


async def test_a_row_is_made_with_defaults_and_read_back(redis_at):
    async with replica(redis_at, **HERE) as broker:
        row = await make_llm(broker, "gpt", URL)
        assert row == await broker.llm("gpt") == await broker.llm(row["id"])
        assert {name: row[name] for name in ("kind", "type", "model", "url", "tier", "description", "aliases")} == {
            "kind": "public", "type": "openai", "model": "gpt", "url": URL, "tier": "fast", "description": "", "aliases": [],
        }
        assert (row["status"], row["lastHeartbeatAt"], row["providerSessionId"], row["channel"]) == ("active", None, None, False)
        assert (row["version"], row["apiKeyRef"], row["extraConfig"], row["slots"]) == (1, None, {}, 0)
        assert await redis_at.read("llms") == {b"gpt"} and await redis_at.read("llm-ids") == {row["id"].encode(): b"gpt"}


async def test_all_fields_are_kept(redis_at):
    fields = {
        "type": "anthropic", "model": "claude", "tier": "heavy", "description": "d", "extraConfig": {"a": [1]},
        "aliases": ["best", "x/y"],
    }
    async with replica(redis_at, **HERE) as broker:
        row = await make_llm(broker, "gpt", URL, key="sk-1", **fields)
        assert {name: row[name] for name in fields} == fields and row["apiKeyRef"] == "gpt"
        status, model, _ = await broker.call("GET", "/v1/models/best")
        assert status == 200 and model["id"] == "gpt"


async def test_a_public_name_is_taken_once(redis_at):
    async with replica(redis_at, **HERE) as broker:
        row = await make_llm(broker, "gpt", URL)
        status, body, _ = await broker.call("POST", LLMS, {"name": "gpt", "url": "http://127.0.0.1:10/v1"})
        assert status == 409 and "public LLM 'gpt'" in says(body) and await broker.llm("gpt") == row


@pytest.mark.parametrize("initial", ["active", "hibernating"])
async def test_a_name_that_a_publisher_holds_is_refused(redis_at, initial):
    async with replica(redis_at, **HERE) as broker, Provider(broker, "gpt", initialStatus=initial):
        status, body, _ = await broker.call("POST", LLMS, {"name": "gpt", "url": URL})
        assert status == 409 and "virtual LLM" in says(body) and initial in says(body)
        assert (await broker.llm("gpt"))["kind"] == "virtual"


async def test_an_inactive_publishers_name_is_still_its_own(redis_at):
    async with replica(redis_at, **HERE) as broker:
        async with Provider(broker, "gpt") as provider:
            await provider.close()
            await broker.until_status("gpt", "inactive")
        status, body, _ = await broker.call("POST", LLMS, {"name": "gpt", "url": URL})
        assert status == 409 and "inactive" in says(body)


async def test_a_name_whose_row_expired_is_free_though_no_sweep_came_by(redis_at):
    timers = {"stale_seconds": 0.8, "expire_seconds": 0.1, "sweep_seconds": 1000}
    async with replica(redis_at, **HERE, **timers) as broker, Provider(broker, "gpt", connect=False):
        old = (await broker.llm("gpt"))["id"]

        async def gone() -> bool:
            return (await broker.call("GET", f"{LLMS}/gpt"))[0] == 404

        await eventually(gone)
        assert (await make_llm(broker, "gpt", URL))["id"] != old
        assert len(await redis_at.read("llm-ids")) == 1 and not await redis_at.read("expiring:llm")


async def test_a_publisher_cannot_register_a_public_name(redis_at):
    async with replica(redis_at, **HERE) as broker:
        row = await make_llm(broker, "gpt", URL)
        status, body, _ = await Provider(broker, "gpt").register()
        assert status == 409 and "'gpt' is a public one" in says(body) and await broker.llm("gpt") == row


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("by", ["name", "id"])
async def test_an_edit_changes_what_it_names_and_raises_the_version(redis_at, method, by):
    async with replica(redis_at, **HERE) as broker:
        row = await make_llm(broker, "gpt", URL, key="sk-1", description="d", aliases=["a"])
        status, edited, headers = await broker.call(method, f"{LLMS}/{row[by]}", {"model": "new", "aliases": ["b"]})
        assert status == 200 and headers["ETag"] == '"2"'
        assert edited == {**row, "model": "new", "aliases": ["b"], "version": 2, "updatedAt": edited["updatedAt"]}
        assert await redis_at.read("alias:b") == {b"gpt"} and not await redis_at.read("alias:a")


async def test_a_row_that_was_read_can_be_sent_back(redis_at):
    async with replica(redis_at, **HERE) as broker:
        row = await make_llm(broker, "gpt", URL, extraConfig={"a": 1})
        status, edited, _ = await broker.call("PUT", f"{LLMS}/gpt", row)
        assert status == 200 and {**edited, "version": 1, "updatedAt": row["updatedAt"]} == row


@pytest.mark.parametrize(("header", "version"), [(None, 1), ('"1"', None), ("1", 1), ('W/"1"', None)])
async def test_an_edit_of_an_older_version_is_refused(redis_at, header, version):
    guard = {} if version is None else {"version": version}
    headers = {"If-Match": header} if header else None
    async with replica(redis_at, **HERE) as broker:
        await make_llm(broker, "gpt", URL)
        assert (await broker.call("PATCH", f"{LLMS}/gpt", {"model": "a", **guard}, headers=headers))[0] == 200
        status, body, _ = await broker.call("PATCH", f"{LLMS}/gpt", {"model": "b", **guard}, headers=headers)
        assert status == 409 and "version 2, not 1" in says(body) and (await broker.llm("gpt"))["model"] == "a"


async def test_of_two_edits_of_one_version_one_is_made(redis_at):
    async with replica(redis_at, **HERE) as broker, replica(redis_at, **HERE) as other:
        await make_llm(broker, "gpt", URL)
        edits = [one.call("PATCH", f"{LLMS}/gpt", {"model": str(n), "version": 1}) for n, one in enumerate([broker, other] * 4)]
        codes = sorted([status for status, _, _ in await asyncio.gather(*edits)])
        assert codes == [200] + [409] * 7 and (await broker.llm("gpt"))["version"] == 2


@pytest.mark.parametrize(
    ("header", "version", "code"), [("x", None, 400), ('"2"', 1, 400), ("*", None, 200), ("*", 1, 200)]
)
async def test_if_match_and_version_are_understood_or_refused(redis_real, header, version, code):
    body = {"model": "a"} if version is None else {"model": "a", "version": version}
    async with replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", URL)
        assert (await broker.call("PATCH", f"{LLMS}/gpt", body, headers={"If-Match": header}))[0] == code


async def test_a_virtual_row_is_its_publishers(redis_at):
    async with replica(redis_at, **HERE) as broker, Provider(broker, "m"):
        for body in ({"description": "d"}, {"url": URL}):
            status, answer, _ = await broker.call("PATCH", f"{LLMS}/m", body)
            assert status == 409 and "publisher owns it" in says(answer)
        assert (await broker.llm("m"))["version"] == 1


async def test_what_is_not_there_cannot_be_edited(redis_at):
    async with replica(redis_at, **HERE) as broker:
        status, body, _ = await broker.call("PATCH", f"{LLMS}/nothing", {"model": "x"})
        assert status == 404 and "'nothing'" in says(body)


async def test_a_deleted_row_leaves_no_key_behind(redis_at):
    async with replica(redis_at, **HERE) as broker:
        await make_llm(broker, "gpt", URL, key="sk-1", aliases=["a"])
        assert (await broker.call("DELETE", f"{LLMS}/gpt"))[0] == 204
        left = [key for key in await redis_at.keys() if b"gpt" in key and not key.startswith(b"secret:")]
        assert not left and not await redis_at.read("llms") and not await redis_at.read("alias:a")


WHOLE = {"name": "x", "url": URL}
BAD = [
    ({"url": URL}, "name"), ({"name": "x"}, "url"), ({**WHOLE, "name": "_x"}, "name"), ({**WHOLE, "name": "x" * 129}, "name"),
    ({**WHOLE, "type": "vllm"}, "type"), ({**WHOLE, "tier": "slow"}, "tier"), ({**WHOLE, "model": ""}, "model"),
    ({**WHOLE, "aliases": ["_a"]}, "aliases"), ({**WHOLE, "apiKeyRef": "none"}, "apiKeyRef"), ({**WHOLE, "typ": "openai"}, "typ"),
    *(({"name": "x", "url": url}, "url") for url in (
        "ftp://x/", "nowhere", "http://ann:pw@127.0.0.1/", "http://10.0.0.1/v1", "http://169.254.169.254/",
        "http://[::ffff:10.0.0.1]/", URL + "#x", "http://127.0.0.1:99999/",
    )),
]


@pytest.mark.parametrize(("fields", "param"), BAD, ids=[str(number) for number in range(len(BAD))])
async def test_a_value_that_is_not_possible_is_422_naming_it(redis_real, fields, param):
    async with replica(redis_real, **HERE) as broker:
        status, body, _ = await broker.call("POST", LLMS, fields)
        assert status == 422 and body["error"]["param"] == param, body
        assert "pw" not in says(body) and (await broker.call("GET", LLMS))[1] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": 5}', b'{"extraConfig": []}', b"\xff"])
async def test_what_is_no_row_is_400(redis_real, body):
    async with replica(redis_real, **HERE) as broker:
        assert (await broker.call("POST", LLMS, body))[0] == 400


async def test_a_name_cannot_be_changed(redis_real):
    async with replica(redis_real, **HERE) as broker:
        await make_llm(broker, "gpt", URL)
        status, body, _ = await broker.call("PATCH", f"{LLMS}/gpt", {"name": "other"})
        assert status == 422 and body["error"]["param"] == "name"


async def test_a_secret_can_be_taken_from_a_row(redis_at):
    async with replica(redis_at, **HERE) as broker:
        await make_llm(broker, "gpt", URL, key="sk-1")
        await put_secret(broker, "other", "sk-2")
        for ref in ("other", None):
            _, row, _ = await broker.call("PATCH", f"{LLMS}/gpt", {"apiKeyRef": ref})
            assert row["apiKeyRef"] == ref
        assert not await redis_at.read("secret-llms:gpt") and not await redis_at.read("secret-llms:other")


async def test_only_admins_make_edit_and_delete_public_rows(redis_at):
    async with tokens(redis_at, root="admin", pub="publisher of root", app="client") as given, replica(redis_at, **HERE) as broker:
        body = {"name": "gpt", "url": URL}
        assert (await broker.call("POST", LLMS, body, headers=bearer(given.root)))[0] == 201
        for token, gone in ((given.pub, 404), (given.app, 403)):
            assert (await broker.call("POST", LLMS, body, headers=bearer(token)))[0] == 403
            assert (await broker.call("PATCH", f"{LLMS}/gpt", {"model": "x"}, headers=bearer(token)))[0] == 403
            assert (await broker.call("DELETE", f"{LLMS}/gpt", headers=bearer(token)))[0] == gone
        assert (await broker.call("DELETE", f"{LLMS}/gpt", headers=bearer(given.root)))[0] == 204
