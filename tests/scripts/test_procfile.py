"""The Procfile: honcho starts what it names, and the API answers."""

from __future__ import annotations

import json
import os
import sys

import pytest

from scripts.ports import free_port
from tests.scripts.running import SET_UP_S, scripts
from tests.support.processes import ROOT, client

pytestmark = [pytest.mark.timeout(SET_UP_S), pytest.mark.limit_s(90)]


def _honcho(stage, *words: str, **env: str):
    commands = ROOT / ".venv" / "bin"
    full = {"PATH": f"{commands}:{os.environ['PATH']}", "REVEILLE_DATA_DIR": str(stage.folder / "data"), **env}
    return stage.execute("honcho", [str(commands / "honcho"), "start", *words], env=full)


@pytest.mark.skipif(sys.platform == "win32", reason="the embedded server needs Linux or macOS")
async def test_honcho_starts_all_four_with_a_config_for_the_publisher(tmp_path):
    config = tmp_path / "publisher.json"
    wake = {"type": "command", "command": "true"}
    config.write_text(json.dumps({"providers": [
        {"name": "mine", "publish": True, "url": "http://127.0.0.1:9/v1", "wake": wake}]}))
    url = f"http://127.0.0.1:{(port := free_port())}"
    with scripts(tmp_path) as stage:
        honcho = _honcho(
            stage, "-p", str(port), PUBLISHER_CONFIG=str(config), BROKER_URL=url, XDG_STATE_HOME=str(tmp_path / "state")
        )
        try:
            await honcho.said("broker listens on")
            await honcho.said("registered at")
            async with client(url) as asks:
                assert (await asks.until_status("mine", "hibernating"))["kind"] == "virtual"
        finally:
            honcho.terminate()
            await honcho.ended()


@pytest.mark.skipif(sys.platform == "win32", reason="the embedded server needs Linux or macOS")
async def test_honcho_starts_the_broker_alone(tmp_path):
    url = f"http://127.0.0.1:{(port := free_port())}"
    with scripts(tmp_path) as stage:
        honcho = _honcho(stage, "-p", str(port), "web", "redis", "sweeper")
        try:
            await honcho.said("broker listens on")
            async with client(url) as asks:
                status, rows, _ = await asks.call("GET", "/api/v1/llms")
                assert (status, rows) == (200, [])
        finally:
            honcho.terminate()
            await honcho.ended()


def test_the_names_are_those_that_platforms_expect():
    lines = [line for line in (ROOT / "Procfile").read_text().splitlines() if not line.startswith("#")]
    assert dict(line.split(": ", 1) for line in lines) == {
        "web": "broker serve", "redis": "python -m broker.embedded",
        "sweeper": "broker sweep", "publisher": "publisher run",
    }
    assert lines[0].startswith("web:"), "honcho gives the first its base port"
