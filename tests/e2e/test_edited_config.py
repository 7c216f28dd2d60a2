"""The config file of a running publisher is edited, broken, mended, lost, and read again by hand."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.backend import Backend
from tests.support.home import entry, home, publishes
from tests.support.live import Stream, word
from tests.support.processes import client
from tests.support.waiting import eventually


@pytest.fixture
def user(stage):
    with home(stage) as made:
        yield made


@pytest.mark.limit_s(90)
async def test_an_edit_is_in_force_by_itself_and_what_runs_does_not_notice(stage, user):
    broker = await stage.broker().ready()
    async with Backend() as backend, client(broker.url) as api:
        user.write(broker.url, entry(backend, "keep"), entry(backend, "go"))
        publisher = await user.publisher().ready()
        before = await api.llm("keep")
        async with Stream(api, "keep", script={"tokens": 30, "delay_s": 0.1}) as stream:
            assert word(await stream.next()) == "tök€n0 "
            user.write(broker.url, entry(backend, "keep"), entry(backend, "come", description="new here"))
            await publisher.said("config read again")
            await eventually(lambda: publishes(api, {"keep", "come"}))
            payloads = await stream.rest()
        assert len(payloads) == 30 and payloads[-1] == "[DONE]"
        assert (await api.chat("come"))[0] == 200 and (await api.chat("go"))[0] == 404
        assert (await api.llm("keep"))["id"] == before["id"] and (await api.llm("come"))["description"] == "new here"
        assert publisher.log().count("channel open") == 1


async def test_a_bad_edit_is_shown_and_changes_nothing_until_it_is_mended(stage, user):
    broker = await stage.broker().ready()
    async with Backend() as backend, client(broker.url) as api:
        user.write(broker.url, entry(backend))
        publisher = await user.publisher().ready()
        user.write(broker.url, entry(backend, slots="many"), entry(backend, "more"))
        await publisher.said("the edited config is not used")

        shown = (await user.status())["configError"]
        assert shown == 'publisher.yaml:6: providers[0] ("m"): slots: must be a whole number above 0'
        assert "the edited config is not used" in (await user.verb("status")).out
        refused = await user.verb("reload")
        assert refused.code == 1 and "slots: must be a whole number" in refused.err
        assert (await api.chat("m"))[0] == 200 and await publishes(api, {"m"})

        user.write(broker.url, entry(backend), entry(backend, "more"))
        await eventually(lambda: publishes(api, {"m", "more"}))
        assert (await user.status())["configError"] == ""


async def test_a_config_that_is_gone_for_a_while_costs_nothing(stage, user):
    broker = await stage.broker().ready()
    async with Backend() as backend, client(broker.url) as api:
        user.write(broker.url, entry(backend))
        publisher = await user.publisher().ready()
        user.config.rename(user.config.with_suffix(".away"))
        await publisher.said("the edited config is not used")
        assert (await api.chat("m"))[0] == 200 and str(user.config) in (await user.status())["configError"]
        user.config.with_suffix(".away").rename(user.config)
        await publisher.said("config read again")
        assert (await user.status())["configError"] == "" and (await api.chat("m"))[0] == 200


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
@pytest.mark.parametrize("way", ["the verb", "SIGHUP"])
async def test_reload_reads_it_again_also_without_an_edit(stage, user, way):
    broker = await stage.broker().ready()
    async with Backend() as backend, client(broker.url) as api:
        user.write(broker.url, entry(backend))
        publisher = await user.publisher().ready()
        before = await api.llm("m")
        if way == "SIGHUP":
            os.kill((await user.status())["pid"], signal.SIGHUP)
        else:
            told = await user.verb("reload")
            assert (told.code, told.out) == (0, "the config is read again\n")
        await publisher.said("config read again")
        assert (await api.chat("m"))[0] == 200
        assert (await api.llm("m"))["id"] == before["id"] and publisher.alive
