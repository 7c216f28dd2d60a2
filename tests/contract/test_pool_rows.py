"""Rows of pools: who may write them, what is refused, and that an edit counts for the next request."""

from __future__ import annotations

from contextlib import suppress

import pytest

from broker.errors import PublisherOffline
from tests.support.brokers import replica
from tests.support.pools import POOLS, Asker, make_pool, order_of
from tests.support.provider import Provider
from tests.support.public import HERE, make_llm
from tests.support.streams import asked
from tests.support.tokens import bearer, tokens
from tests.support.tool_servers import ToolProvider
from tests.support.waiting import eventually

ALL = [{"selector": {"name": "*"}}]


async def served(broker, provider: Provider) -> str:
    task = asked(broker.chat("pool"))
    frame = await provider.next()
    await provider.answer(frame)
    assert (await task)[2]["X-Served-By"] == frame["llmName"]
    return frame["llmName"]


async def members(place, key: str = "p:pool") -> set[str]:
    return {name.decode() for name in await place.read(f"pool-members:{key}") or ()}


async def test_a_pool_is_made_shown_edited_and_deleted(redis_at):
    async with replica(redis_at) as broker:
        row = await make_pool(broker, "pool", "a", {"selector": {"model": "q", "tier": "fast"}, "weight": 2.5, "tier": 1})
        assert row["version"] == 1 and row["affinity"] is True and row["description"] == ""
        assert row["members"] == [{"llm": "a"}, {"selector": {"model": "q", "tier": "fast"}, "weight": 2.5, "tier": 1}]
        assert (await broker.call("GET", POOLS))[1] == [row]
        status, edited, headers = await broker.call("PATCH", f"{POOLS}/pool", {"affinity": False, "description": "d"})
        assert (status, headers["ETag"]) == (200, '"2"') and edited["members"] == row["members"]
        assert (await broker.call("GET", f"{POOLS}/pool"))[1] == edited and edited["affinity"] is False
        assert (await broker.call("PUT", f"{POOLS}/pool", edited))[1]["version"] == 3
        assert (await broker.call("DELETE", f"{POOLS}/pool"))[0] == 204
        for method in ("GET", "PATCH", "DELETE"):
            status, body, _ = await broker.call(method, f"{POOLS}/pool", {} if method == "PATCH" else None)
            assert status == 404 and body["error"]["code"] == "unknown_pool"
        assert (await broker.call("GET", POOLS))[1] == [] and not [key for key in await redis_at.keys() if b"pool" in key]


async def test_an_edit_of_another_version_is_refused(redis_at):
    async with replica(redis_at) as broker:
        await make_pool(broker, "pool", "a")
        assert (await broker.call("PATCH", f"{POOLS}/pool", {"description": "x"}, headers={"If-Match": '"1"'}))[0] == 200
        status, body, _ = await broker.call("PATCH", f"{POOLS}/pool", {"description": "y", "version": 1})
        assert status == 409 and "version 2" in body["error"]["message"]
        status, body, _ = await broker.call("POST", POOLS, {"name": "pool", "members": [{"llm": "b"}]})
        assert status == 409 and (await broker.call("GET", f"{POOLS}/pool"))[1]["members"] == [{"llm": "a"}]


async def test_only_admins_have_to_do_with_pools(redis_at):
    async with tokens(redis_at, app="client", pub="publisher", root="admin") as given, replica(redis_at) as broker:
        for token in (given.app, given.pub):
            for method, path, body in (("GET", POOLS, None), ("POST", POOLS, {"name": "p", "members": ALL}), ("DELETE", f"{POOLS}/p", None)):
                assert (await broker.call(method, path, body, headers=bearer(token)))[0] == 403
        status, row, _ = await broker.call("POST", POOLS, {"name": "p", "members": ALL}, headers=bearer(given.root))
        assert status == 201 and row["ownerId"] == "root"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"members": ALL}, "name"), ({"name": "p"}, "members"), ({"name": "_p", "members": ALL}, "name"),
        ({"name": "p", "members": []}, "members"), ({"name": "p", "members": [{"llm": "a"}] * 1001}, "members"),
        ({"name": "p", "members": [{}]}, "members[0]"), ({"name": "p", "members": [{"llm": "a", **ALL[0]}]}, "members[0]"),
        ({"name": "p", "members": [{"llm": "a"}, {"selector": {}}]}, "members[1]"),
        ({"name": "p", "members": [{"llm": "a\n"}]}, "members[0].llm"),
        ({"name": "p", "members": [{"llm": "a", "weight": 0}]}, "members[0].weight"),
        ({"name": "p", "members": [{"llm": "a", "weight": 101}]}, "members[0].weight"),
        ({"name": "p", "members": [{"llm": "a", "tier": 10}]}, "members[0].tier"),
        ({"name": "p", "members": [{"selector": {"tier": "slow"}}]}, "members[0]"),
        ({"name": "p", "members": [{"selector": {"name": "*a*b*c*d"}}]}, "members[0]"),
        ({"name": "p", "members": ALL, "overflow": "x"}, "overflow"),
        ({"name": "p", "members": "a"}, None), ({"name": "p", "members": [{"llm": "a", "weight": "2"}]}, None),
    ],
)
async def test_a_pool_that_cannot_be_is_refused_and_nothing_is_made(redis_real, body, place):
    async with replica(redis_real) as broker:
        status, answer, _ = await broker.call("POST", POOLS, body)
        assert status in (400, 422) and (place is None or answer["error"]["param"] == place), answer
        assert not await redis_real.read("pools")


async def test_selectors_choose_by_model_tier_kind_and_name(redis_at):
    async with replica(redis_at, **HERE) as broker:
        await make_llm(broker, "cloud-1", "http://127.0.0.1:9/v1", model="q")
        async with Provider(broker, "gpu-1", "gpu-22", model="q", tier="heavy"), Provider(broker, "cpu.1", model="other"):
            for selector, expected in (
                ({"model": "q"}, {"cloud-1", "gpu-1", "gpu-22"}), ({"kind": "public"}, {"cloud-1"}),
                ({"tier": "heavy"}, {"gpu-1", "gpu-22"}), ({"tier": "fast", "kind": "virtual"}, {"cpu.1"}),
                ({"name": "gpu-?"}, {"gpu-1"}), ({"name": "gpu-*"}, {"gpu-1", "gpu-22"}), ({"name": "c*.1"}, {"cpu.1"}),
                ({"name": "*-1", "model": "q"}, {"cloud-1", "gpu-1"}), ({"name": "%a*"}, set()),
                ({"name": "*u*-*"}, {"cloud-1", "gpu-1", "gpu-22"}), ({"name": "gpu-2*2"}, {"gpu-22"}), ({"name": "*2*2*2"}, set()),
            ):
                await make_pool(broker, "pool", {"selector": selector})
                await use(broker, "pool")
                assert await members(redis_at) == expected, selector
                models = {one["id"]: one for one in (await broker.call("GET", "/v1/models"))[1]["data"]}
                assert (models["pool"]["status"] == "active") == bool(expected), selector
                assert (await broker.call("DELETE", f"{POOLS}/pool"))[0] == 204


async def use(broker, name: str) -> None:
    """Asks it, so that it is in use; whom it chose hears nothing of it."""
    asker = Asker(broker)
    with suppress(PublisherOffline):
        await asker.ask(name)
    for task, _ in asker.held:
        await asker.cancel(task)


@pytest.mark.parametrize("selector", [{"kind": "virtual"}, {"name": "*"}, {"tier": "fast"}])
async def test_a_selector_never_fits_a_tool_server(redis_at, selector):
    async with replica(redis_at) as broker, ToolProvider(broker, "files") as early:
        await make_pool(broker, "pool", {"selector": selector})
        await use(broker, "pool")
        assert await members(redis_at) == set()
        async with Provider(broker, "a"), ToolProvider(broker, "late"):
            assert await members(redis_at) == {"a"}
        assert early.frames.empty()


async def test_a_question_mark_stands_for_one_character_of_any_script(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "gpu-é", "gpu-車", "gpu-", "gpu-ab"):
        await make_pool(broker, "pool", {"selector": {"name": "gpu-?"}})
        await use(broker, "pool")
        assert await members(redis_at) == {"gpu-é", "gpu-車"}


async def test_many_stars_and_long_names_hold_up_nobody(redis_real):
    names = ["a" * 120 + f"{number:03}" for number in range(60)]
    async with replica(redis_real) as broker, Provider(broker, *names):
        await make_pool(broker, "pool", *({"selector": {"name": f"*a*a*b{number}"}} for number in range(300)))
        await use(broker, "pool")
        assert await members(redis_real) == set()
        assert (await broker.call("GET", "/v1/models"))[0] == 200


async def test_the_first_entry_that_fits_counts(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", slots=2) as provider:
        await make_pool(broker, "pool", {"llm": "a", "tier": 2, "weight": 3}, *ALL, {"llm": "b", "tier": 5})
        assert await served(broker, provider) == "b"
        assert await redis_at.read("pool-members:p:pool") == {b"a": b"2 3", b"b": b"0 1"}


async def test_a_member_that_comes_later_is_in_and_one_that_goes_is_out(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", slots=1) as first:
        await make_pool(broker, "pool", "a", "late", {"selector": {"tier": "heavy"}})
        assert await served(broker, first) == "a"
        async with Provider(broker, "late", "heavy", tier="heavy") as second:
            assert await members(redis_at) == {"a", "late", "heavy"}
            await second.register("late", "heavy", replace=True)
            await second.post("/_provider-register", {"providerSessionId": second.session, "replace": True, "providers": [{"name": "late", "tier": "fast"}]})
            assert await members(redis_at) == {"a", "late"} and set(await order_of(redis_at, "p:pool")) == {"a", "late"}
            task = asked(broker.chat("pool"))
            frame = await first.next()
            assert await served(broker, second) == "late"
            await first.answer(frame)
            assert (await task)[0] == 200
        assert (await broker.call("DELETE", "/api/v1/llms/late"))[0] == 204
        assert await members(redis_at) == {"a"} and not await redis_at.read("pools-of:late")


async def test_an_edit_counts_for_the_next_request_and_for_who_waits(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", "b", slots=1) as provider:
        await make_pool(broker, "pool", "a")
        running = asked(broker.chat("pool"))
        frame = await provider.next()
        waiting = asked(broker.chat("pool"))
        await eventually(lambda: redis_at.read("waiting:\1p:pool"))
        assert (await broker.call("PATCH", f"{POOLS}/pool", {"members": [{"llm": "b"}]}))[0] == 200
        given = await provider.next()
        assert given["llmName"] == "b"
        await provider.answer(given)
        assert (await waiting)[2]["X-Served-By"] == "b" and await served(broker, provider) == "b"
        await provider.answer(frame)
        assert (await running)[2]["X-Served-By"] == "a"


async def test_an_edit_lets_every_new_member_serve_who_waits(redis_at):
    names = [f"m{number:02}" for number in range(24)]
    async with replica(redis_at) as broker, Provider(broker, "a", *names, slots=1) as provider:
        await make_pool(broker, "pool", "a")
        asker = Asker(broker)
        await asker.ask("pool")
        for name in names:
            await asker.ask("pool", task=name)
        assert (await broker.call("PATCH", f"{POOLS}/pool", {"members": ALL}))[0] == 200
        assert not await redis_at.read("waiting:\1p:pool")
        await asker.finish_all(provider.session)
        for name in names:
            await asker.end(name, provider.session)


async def test_who_waits_for_a_pool_that_is_deleted_is_refused(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "a", slots=1) as provider:
        await make_pool(broker, "pool", "a")
        running = asked(broker.chat("pool"))
        frame = await provider.next()
        waiting = asked(broker.chat("pool"))
        await eventually(lambda: redis_at.read("waiting:\1p:pool"))
        assert (await broker.call("DELETE", f"{POOLS}/pool"))[0] == 204
        status, body, _ = await waiting
        assert status == 404 and body["error"]["code"] == "model_not_found"
        await provider.answer(frame)
        assert (await running)[0] == 200 and (await broker.chat("pool"))[0] == 404
