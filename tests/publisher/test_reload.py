"""Hot reload: what is in both configs goes on undisturbed; a bad edit changes nothing."""

import asyncio
import json
import os
from pathlib import Path

from publisher.cli.told import Told
from publisher.config.values import Command, ConfigError
from publisher.reload import Reload
from tests.publisher.running import play, scene
from tests.support.waiting import eventually


def told_of(path: Path):
    """What the program does with the file, without the flags."""
    return Told(path).read


class Written:
    """A config file that a scene's publisher reloads."""

    def __init__(self, path: Path, s) -> None:
        self.path = path
        self.s = s
        self.write("m")
        self.reload = Reload(told_of(path), [path], s.publisher.apply, s.publisher.bad_config, every_s=0.02)
        self.task = asyncio.create_task(self.reload.run())

    def write(self, *names: str, **more) -> None:
        providers = [
            {"name": name, "url": self.s.backend.url, "model": "real", "slots": 8, "publish": True, **more} for name in names
        ]
        self.text(json.dumps({"broker": self.s.broker.url, "token": "secret-token", "providers": providers}))

    def text(self, text: str) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text(text)
        os.replace(beside, self.path)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


def rows(s) -> list[str]:
    return [entry["name"] for entry in s.broker.registrations[-1]["providers"]]


def test_an_edit_publishes_what_is_new_and_unpublishes_what_is_gone(tmp_path):
    async def test():
        async with scene() as s, Written(tmp_path / "publisher.json", s) as config:
            config.write("m", "n")
            await s.broker.until(lambda: rows(s) == ["m", "n"])
            config.write("n")
            await s.broker.until(lambda: rows(s) == ["n"])
            assert s.broker.channels == 1 and len(s.broker.instances) == 1
            assert (await s.broker.ended(await s.broker.infer({"messages": []}, llm="n"))).last["status"] == 200

    play(test())


def test_a_request_that_runs_does_not_notice_a_reload(tmp_path):
    async def test():
        async with scene() as s, Written(tmp_path / "publisher.json", s) as config:
            slow = {"messages": [], "stream": True, "script": {"delay_s": 0.05, "tokens": 8}}
            told = await s.broker.infer(slow)
            await s.broker.until(lambda: told.payloads)
            config.write("m", "n", tier="heavy")
            await s.broker.until(lambda: len(s.broker.registrations) >= 2 and rows(s) == ["m", "n"])
            assert not told.ended
            assert (await s.broker.ended(told)).payloads[-1] == "[DONE]"

    play(test())


def test_a_bad_edit_is_reported_and_the_old_config_stays_in_force(tmp_path):
    async def test():
        async with scene() as s, Written(tmp_path / "publisher.json", s) as config:
            config.write("m", slots="many")
            await eventually(lambda: s.publisher.status().config_error)
            assert "slots" in s.publisher.status().config_error
            config.text("{")
            await eventually(lambda: "slots" not in s.publisher.status().config_error)
            config.path.unlink()
            await eventually(lambda: "cannot be read" in s.publisher.status().config_error)
            assert len(s.broker.registrations) == 1 and (await s.ask()).last["status"] == 200
            config.write("m", "n")
            await s.broker.until(lambda: rows(s) == ["m", "n"])
            assert s.publisher.status().config_error == ""

    play(test())


def test_a_hang_up_signal_reads_it_again_without_an_edit(tmp_path, monkeypatch):
    async def test():
        async with scene() as s, Written(tmp_path / "publisher.json", s) as config:
            monkeypatch.setenv("TIER", "fast")
            config.write("m", tier="${TIER}")
            await s.broker.until(lambda: s.broker.registrations[-1]["providers"][0].get("tier") == "fast")
            monkeypatch.setenv("TIER", "heavy")
            config.reload.ask()
            await s.broker.until(lambda: s.broker.registrations[-1]["providers"][0].get("tier") == "heavy")

    play(test())


def test_a_secret_s_file_counts_as_an_edit(tmp_path):
    async def test():
        async with scene() as s, Written(tmp_path / "publisher.json", s) as config:
            key = tmp_path / "key"
            key.write_text("one")
            config.write("m", apiKeyFile="key")
            await eventually(lambda: s.publisher.roster.get("m").provider.api_key == "one")
            key.write_text("another")
            await eventually(lambda: s.publisher.roster.get("m").provider.api_key == "another")
            await s.ask()
            assert s.backend.seen[-1].headers["Authorization"] == "Bearer another"

    play(test())


def test_an_edit_of_a_sleeping_model_leaves_it_asleep(tmp_path):
    async def test():
        def asleep(broker, backend):
            backend.up = False

        async with scene(wake=Command("true"), prepare=asleep) as s, Written(tmp_path / "publisher.json", s) as config:
            config.write("m", wake={"type": "command", "command": "true"}, description="new")
            await s.broker.until(lambda: s.broker.registrations[-1]["providers"][0].get("description") == "new")
            assert s.broker.registrations[-1]["providers"][0]["initialStatus"] == "hibernating"

    play(test())


def test_another_broker_takes_the_place_of_the_one_before(tmp_path):
    from tests.support.fake_broker import FakeBroker

    async def test():
        async with FakeBroker() as other, scene() as s, Written(tmp_path / "publisher.json", s) as config:
            provider = {"name": "m", "url": s.backend.url, "publish": True}
            config.text(json.dumps({"broker": other.url, "providers": [provider]}))
            await other.ready()
            await s.broker.until(lambda: "goodbye" in s.broker.calls)
            assert (await other.ended(await other.infer({"messages": []}))).last["status"] == 200
            config.write("m")  # back again, before the other one's server ends

    play(test())


def test_what_is_wrong_is_told_to_whoever_asked_for_the_reload():
    async def test():
        def read():
            raise ConfigError("line 3: no")

        errors: list[str] = []
        reload = Reload(read, [], apply=None, say_error=errors.append)
        assert await reload.now() == "line 3: no" and errors == ["line 3: no"]

    play(test())
