"""Threads: made with an agent, listed by activity, renamed, deleted, read page by page; their owner's alone."""

from __future__ import annotations

import pytest

from tests.support.agents import AGENTS, make_agent
from tests.support.brokers import replica
from tests.support.messages import completion
from tests.support.provider import Provider
from tests.support.streams import asked
from tests.support.threads import BOT, THREADS, ask, make_thread, messages, said, say, thread_of
from tests.support.tokens import bearer, tokens


def ids(body: dict) -> list[str]:
    return [thread["id"] for thread in body["data"]]


@pytest.mark.parametrize("key", ["name", "id"])
async def test_a_thread_is_made_with_an_agent_and_read_back(redis_at, key):
    async with replica(redis_at) as broker:
        agent = await make_agent(broker, "bot", model="x")
        status, made, _ = await broker.call("POST", f"{AGENTS}/{agent[key]}/threads", {"title": "On tea"})
        assert status == 201 and made == await thread_of(broker, made["id"])
        assert made == {
            "id": made["id"], "agentId": agent["id"], "agent": "bot", "ownerId": "local", "title": "On tea", "lastTurnAt": None,
            "createdAt": made["createdAt"], "updatedAt": made["createdAt"], "running": None,
        }


async def test_a_title_may_be_left_out_as_may_the_body(redis_at):
    async with replica(redis_at) as broker:
        await make_agent(broker, "a/b", model="x")
        for body in (None, {}, {"title": None}):
            status, made, _ = await broker.call("POST", f"{AGENTS}/a%2Fb/threads", body)
            assert status == 201 and made["title"] == "" and made["agent"] == "a/b"


async def test_a_thread_with_an_agent_that_is_not_there_is_404(redis_at):
    async with replica(redis_at) as broker:
        status, body, _ = await broker.call("POST", f"{AGENTS}/nobody/threads", {})
        assert status == 404 and body["error"]["code"] == "unknown_agent" and "'nobody'" in body["error"]["message"]
        assert (await broker.call("GET", f"{AGENTS}/nobody/threads"))[0] == 404
        assert (await broker.call("GET", f"{THREADS}?agent=nobody"))[0] == 404
        assert not [key for key in await redis_at.keys() if b"thread" in key]


async def test_a_title_is_changed_and_nothing_else(redis_at):
    async with replica(redis_at) as broker:
        await make_agent(broker, "bot", model="x")
        thread = await make_thread(broker)
        before = await thread_of(broker, thread)
        status, edited, _ = await broker.call("PATCH", f"{THREADS}/{thread}", {"title": "Tea £"})
        assert status == 200 and edited == {**before, "title": "Tea £", "updatedAt": edited["updatedAt"]}
        status, again, _ = await broker.call("PATCH", f"{THREADS}/{thread}", edited)
        assert status == 200 and again["title"] == "Tea £"


@pytest.mark.parametrize(("body", "status"), [({"title": "x" * 257}, 422), ({"titel": "x"}, 422), ({"title": 5}, 400), (b"{", 400)])
async def test_a_thread_that_is_not_possible_is_refused(redis_real, body, status):
    async with replica(redis_real) as broker:
        await make_agent(broker, "bot", model="x")
        thread = await make_thread(broker)
        assert (await broker.call("POST", f"{AGENTS}/bot/threads", body))[0] == status
        assert (await broker.call("PATCH", f"{THREADS}/{thread}", body))[0] == status


async def test_threads_are_listed_by_their_last_turn_per_agent_and_over_all(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        await make_agent(broker, "other", "m")
        first, second = await make_thread(broker), await make_thread(broker)
        third = await make_thread(broker, "other")
        await ask(broker, provider, second)
        await ask(broker, provider, first)
        assert ids((await broker.call("GET", THREADS))[1]) == [first, second, third]
        assert ids((await broker.call("GET", f"{AGENTS}/bot/threads"))[1]) == [first, second]
        assert ids((await broker.call("GET", f"{THREADS}?agent=other"))[1]) == [third]
        assert (await thread_of(broker, first))["lastTurnAt"] > (await thread_of(broker, second))["lastTurnAt"]


async def test_long_lists_come_in_pages(redis_at):
    async with replica(redis_at) as broker:
        await make_agent(broker, "bot", model="x")
        made = {await make_thread(broker) for _ in range(5)}
        seen, after = [], ""
        while True:
            status, page, _ = await broker.call("GET", f"{THREADS}?limit=2&after={after}")
            assert status == 200 and len(page["data"]) <= 2
            seen += ids(page)
            after = seen[-1]
            if not page["hasMore"]:
                break
        assert len(seen) == 5 and set(seen) == made


async def test_messages_come_in_pages_in_order(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        for number in range(3):
            await ask(broker, provider, thread, f"q{number}", f"a{number}")
        whole = await messages(broker, thread)
        assert said(whole) == [
            (number + 1, role, f"{letter}{number}", "complete")
            for number in range(3) for role, letter in (("user", "q"), ("assistant", "a"))
        ]
        assert len({one["id"] for one in whole}) == 6 and {one["threadId"] for one in whole} == {thread}
        assert set(whole[0]) == {"id", "threadId", "turnIndex", "role", "content", "toolCalls", "toolCallId", "status", "createdAt"}
        seen, after = [], ""
        for more in (True, True, False):
            _, page, _ = await broker.call("GET", f"{THREADS}/{thread}/messages?limit=2&after={after}")
            assert page["hasMore"] is more
            seen += page["data"]
            after = seen[-1]["id"]
        assert seen == whole


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "after=nothing", "after=.5", "limit=²"])
async def test_a_page_that_is_not_possible_is_422_naming_it(redis_real, query):
    async with replica(redis_real) as broker:
        await make_agent(broker, "bot", model="x")
        thread = await make_thread(broker)
        for path in (THREADS, f"{THREADS}/{thread}/messages"):
            status, body, _ = await broker.call("GET", f"{path}?{query}")
            assert status == 422 and body["error"]["param"] == query.split("=")[0]


async def test_a_deleted_thread_leaves_no_key_behind(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await ask(broker, provider, thread)
        asking = asked(say(broker, thread))
        await provider.fail(await provider.next(), "no", "backend_error")
        assert (await asking)[0] == 502
        assert [key for key in await redis_at.keys() if b"thread" in key]
        assert (await broker.call("DELETE", f"{THREADS}/{thread}"))[0] == 204
        assert not [key for key in await redis_at.keys() if b"thread" in key or b"turn" in key]
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/messages"), ("GET", "/turns/1")):
            status, body, _ = await broker.call(method, f"{THREADS}/{thread}{path}")
            assert status == 404 and body["error"]["code"] == "unknown_thread"


async def test_a_thread_outlives_its_virtual_agent_and_goes_on_when_it_is_back(redis_at):
    async with replica(redis_at) as broker, Provider(broker, "m", agents=BOT) as provider:
        thread = await make_thread(broker)
        await ask(broker, provider, thread, "q", "a")
        assert (await broker.call("DELETE", f"{AGENTS}/bot"))[0] == 204
        status, body, headers = await say(broker, thread)
        assert status == 503 and body["error"]["code"] == "agent_gone" and headers["Retry-After"] and "'bot'" in body["error"]["message"]
        assert len(await messages(broker, thread)) == 2
        assert ids((await broker.call("GET", f"{AGENTS}/bot/threads"))[1]) == [thread]
        await provider.register()
        request = await ask(broker, provider, thread, "again")
        assert [one["content"] for one in request["messages"]] == ["be kind", "q", "a", "again"]


async def test_a_thread_is_its_owners_alone(redis_at):
    roles = {"ann": "client", "app": "client of ann", "bob": "client", "root": "admin", "pub": "publisher of ann"}
    async with tokens(redis_at, **roles) as given, replica(redis_at) as broker:
        async with Provider(broker, "m", agents=BOT, token=given.pub) as provider:
            thread = await make_thread(broker, headers=bearer(given.ann))
            asking = asked(say(broker, thread, headers=bearer(given.app)))
            await provider.answer(await provider.next(), completion(content="hi"))
            assert (await asking)[0] == 200
            calls = [
                ("GET", "", None), ("PATCH", "", {"title": "x"}), ("GET", "/messages", None), ("POST", "/turns", {"content": "x"}),
                ("GET", "/turns/1", None), ("DELETE", "/turns/1", None), ("GET", "/turns/1/events", None), ("DELETE", "", None),
            ]
            for token, code in ((given.bob, 404), (given.root, 404), (given.pub, 403)):
                for method, path, body in calls:
                    assert (await broker.call(method, f"{THREADS}/{thread}{path}", body, headers=bearer(token)))[0] == code
            assert ids((await broker.call("GET", THREADS, headers=bearer(given.bob)))[1]) == []
            assert ids((await broker.call("GET", f"{AGENTS}/bot/threads", headers=bearer(given.bob)))[1]) == []
            assert ids((await broker.call("GET", THREADS, headers=bearer(given.app)))[1]) == [thread]
            assert (await broker.call("DELETE", f"{THREADS}/{thread}", headers=bearer(given.app)))[0] == 204
