"""A publisher's brokers, real ones: checked beforehand, two at once, the same rows after a restart."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support import processes
from tests.support.backend import Backend, Script
from tests.support.engines import Ollama
from tests.support.home import entry, home
from tests.support.live import Stream, word
from tests.support.places import ServerPlace
from tests.support.processes import client
from tests.support.tokens import bearer, tokens
from tests.support.waiting import eventually

NATIVE = {"wake": {"type": "native"}, "sleep": {"type": "native"}}


@pytest.fixture
def user(stage):
    with home(stage) as made:
        yield made


@pytest.fixture
def other_stage(real_server, tmp_path):
    """Another broker's world: nothing of the first one is in it."""
    folder = tmp_path / "other"
    folder.mkdir()
    with processes.stage(folder, ServerPlace(real_server)) as made:
        yield made


async def test_check_tells_a_good_token_from_a_wrong_one_and_from_one_that_may_not_publish(stage, user, redis_real):
    broker = await stage.broker().ready()
    async with Backend() as backend, tokens(redis_real, mine="publisher", asks="client") as given, client(broker.url) as api:
        await eventually(lambda: answered(api, 401))
        for token, code, told in (
            (given.mine, 0, "this token may publish"),
            ("rvt_wrong", 1, "the broker does not know this token"),
            (given.asks, 1, "the broker refuses this token"),
            (None, 1, "the broker wants a token"),
        ):
            user.write(broker.url, entry(backend), **({"token": token} if token else {}))
            found = await user.verb("check")
            assert found.code == code and told in found.out, (token, found)
            assert not token or token not in found.out + found.err
            findings = json.loads((await user.verb("check", "--json")).out)
            assert findings["errors"] == code and told in json.dumps(findings)
        assert (await api.call("GET", "/api/v1/llms", headers=bearer(given.asks)))[1] == [], "a check published something"


async def test_a_wrong_token_ends_a_publisher_with_the_reason_and_without_the_token(stage, user, redis_real):
    broker = await stage.broker().ready()
    async with Backend() as backend, tokens(redis_real, mine="publisher"), client(broker.url) as api:
        await eventually(lambda: answered(api, 401))
        user.write(broker.url, entry(backend), token="rvt_wrong")
        publisher = user.publisher()
        assert await publisher.ended() == 1
        assert "refused the registration" in publisher.log() and "rvt_wrong" not in publisher.log()
        assert "Traceback" not in publisher.log()


async def answered(api, status: int) -> bool:
    return (await api.call("GET", "/api/v1/llms"))[0] == status


@pytest.mark.limit_s(90)
async def test_one_publisher_serves_two_brokers_and_outlives_either(stage, other_stage, user):
    one, two = await asyncio.gather(stage.broker().ready(), other_stage.broker(reconnect_grace_seconds=0.3).ready())
    async with Ollama(["a"]) as engine, client(one.url) as api_1, client(two.url) as api_2:
        native = {"publish": True, "type": "ollama", "url": engine.url, "model": "a", "name": "m", **NATIVE}
        user.write_whole({"brokers": [{"url": one.url}, {"url": two.url}], "providers": [native]})
        publisher = await user.publisher().ready()
        await asyncio.gather(*(eventually(lambda api=api: has_channel(api, "m")) for api in (api_1, api_2)))
        states = {broker["url"]: broker["state"] for broker in (await user.status())["brokers"]}
        assert states == {one.url: "open", two.url: "open"}

        assert (await api_1.chat("m"))[0] == 200
        await api_2.until_status("m", "active")  # who did not ask hears of the wake as well
        async with Stream(api_2, "m", script={"tokens": 20, "delay_s": 0.1}) as stream:
            assert word(await stream.next()) == "tök€n0 "
            assert (await user.verb("sleep", "m")).code == 1  # that it has work, one of them knows
            assert len(await stream.rest()) == 20
        assert (await user.verb("sleep", "m")).code == 0
        assert [(await api.llm("m"))["status"] for api in (api_1, api_2)] == ["hibernating"] * 2

        two.kill()
        assert (await api_1.chat("m"))[0] == 200 and engine.loaded == ["a"]
        await eventually(lambda: broker_is(user, two.url, "connecting"))
        assert (await user.verb("sleep", "m")).code == 0 and publisher.alive


async def has_channel(api, name: str) -> bool:
    status, row, _ = await api.call("GET", f"/api/v1/llms/{name}")
    return status == 200 and row["channel"]


async def broker_is(user, url: str, state: str) -> bool:
    return any(one["url"] == url and one["state"] == state for one in (await user.status())["brokers"])


@pytest.mark.parametrize("death", ["terminate", "kill"])
async def test_after_a_restart_the_rows_are_the_same_ones(stage, user, death):
    broker = await stage.broker().ready()
    async with Backend(script=Script(tokens=1)) as backend, client(broker.url) as api:
        user.write(broker.url, entry(backend, "a"), entry(backend, "b"))
        publisher = await user.publisher().ready()
        before = [await api.llm(name) for name in "ab"]
        getattr(publisher, death)()
        await publisher.ended()
        await user.publisher().ready()
        for row in before:
            again = await api.until_status(row["name"], "active")
            assert (again["id"], again["providerSessionId"]) == (row["id"], row["providerSessionId"])
        assert (await api.chat("a"))[0] == 200
        assert (await user.status())["brokers"][0]["session"] == before[0]["providerSessionId"]
