"""Engines that nobody here wrote: published, woken, asked and put to sleep; those only that were set up before."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import subprocess

import pytest

from publisher.config.file import read_config
from publisher.config.values import Process, StopProcess
from tests.scripts.running import assert_nothing_left_of, needs_proc, script, scripts
from tests.support.processes import ROOT

STORY_S = 150
STAMPS = {
    "llamacpp": [".venv-engines/set-up-for-engines"],
    "nodellama": [".venv-engine-nodellama/set-up-for-engine-nodellama"],
    "litellm": [".venv-engine-litellm/set-up-for-engine-litellm"],
    "transformers": [f".venv-engine-transformers/set-up-for-engine-transformers{torch}" for torch in ("", "-pypi")],
}


def where_set_up(name: str):
    return pytest.param(name, marks=pytest.mark.skipif(
        not any((ROOT / stamp).exists() for stamp in STAMPS[name]),
        reason=f"an optional extra: scripts/engine-{name} sets it up",
    ))


@pytest.fixture
def engines(monkeypatch):
    """The engines as the scripts know them; none needs to be installed for this."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from engines.known import ENGINES

    return ENGINES


@pytest.mark.timeout(STORY_S + 30)
@pytest.mark.limit_s(STORY_S + 10)
@pytest.mark.parametrize("name", [where_set_up(name) for name in STAMPS])
async def test_a_real_engine_is_woken_by_a_request_and_put_to_sleep_for_want_of_work(tmp_path, name):
    with scripts(tmp_path) as stage:
        run = script(stage, f"engine-{name}", "--once")
        assert await run.ended(STORY_S) == 0, run.log()
        told = [
            "as hibernating: the engine", "while the engine is asleep", "active: the request woke it",
            "now that it is awake", "Without streaming it answers too", "is hibernating again",
        ]
        places = [run.log().find(words) for words in told]
        assert -1 not in places and places == sorted(places), run.log()
        assert not await _listens(run.log())
        assert_nothing_left_of(stage)


@needs_proc
@pytest.mark.timeout(90)
@pytest.mark.limit_s(80)
@pytest.mark.parametrize("name", [where_set_up("llamacpp")])
async def test_an_engine_does_not_outlive_a_story_that_is_killed_while_it_is_awake(tmp_path, name):
    with scripts(tmp_path) as stage:
        run = script(stage, f"engine-{name}")
        await run.said("active: the request woke it", 60)
        assert await _listens(run.log())
        run.kill()
        async with asyncio.timeout(15):
            while await _listens(run.log()):
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", STAMPS)
def test_the_config_of_each_engine_lets_the_publisher_start_and_stop_it(tmp_path, engines, name):
    engine = engines[name]
    (tmp_path / "litellm.key").write_text("sk-x")
    file = tmp_path / "publisher.json"
    file.write_text(json.dumps(engine.config("http://127.0.0.1:8080", 4711, tmp_path)))
    [provider] = read_config(file).providers
    assert isinstance(provider.wake.process, Process) and provider.sleep.steps == (StopProcess(),)
    assert provider.idle_s and "4711" in " ".join(provider.wake.process.args) and ":4711" in provider.url
    assert "{" not in file.read_text().replace("{\"", "").replace("{}", ""), "a place was not filled in"


def test_the_key_of_the_proxy_is_in_two_private_files_and_not_in_the_config_that_is_shown(tmp_path, engines):
    engine = engines["litellm"]
    engine.prepare(engine.environment, tmp_path)
    key = (tmp_path / "litellm.key").read_text()
    assert json.loads((tmp_path / "litellm.yaml").read_text())["general_settings"]["master_key"] == key
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert key not in json.dumps(engine.config("http://127.0.0.1:8080", 4711, tmp_path))


def test_an_environment_that_is_not_known_is_refused_with_those_that_are():
    told = subprocess.run([ROOT / "scripts" / "setup", "engine-unknown"], capture_output=True, text=True)
    assert told.returncode == 2
    assert all(f"engine-{name}" in told.stderr for name in ("litellm", "nodellama", "transformers"))


@pytest.mark.parametrize("name", [where_set_up(name) for name in STAMPS])
def test_an_engine_that_was_set_up_is_not_set_up_again_and_its_pins_are_complete(name):
    done = next(stamp for stamp in STAMPS[name] if (ROOT / stamp).exists())
    no_network = {**os.environ, "PIP_NO_INDEX": "1", "HTTPS_PROXY": "http://127.0.0.1:9"}
    what = done.partition("set-up-for-")[2]
    again = subprocess.run([ROOT / "scripts" / "setup", what], capture_output=True, text=True, env=no_network)
    assert (again.returncode, again.stdout + again.stderr) == (0, "")
    python = ROOT / done.partition("/")[0] / "bin" / "python"
    checked = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


async def _listens(story: str) -> bool:
    """Whether anybody is at the engine's address, which the story shows in its config."""
    port = re.search(r"url: http://127\.0\.0\.1:(\d+)", story).group(1)
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(port))
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
