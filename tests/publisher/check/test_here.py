"""The looks at this machine: the config file's mode, recipes' programs, folders, and the whole verb."""

import json
import os
import sys
from pathlib import Path

import pytest

from publisher.check.config_file import check_config_file
from publisher.check.recipe import check_recipes
from publisher.check.session_file import check_session_file
from publisher.check.writable import why_not_writable
from publisher.config.file import read_config_and_files
from publisher.config.values import Command, Http, Process, Provider, Recipe, StopProcess, WaitFor, WakeOnLan
from tests.publisher.check.looking import short
from tests.publisher.control.serving import verb
from tests.support.brokers import replica
from tests.support.engines.ollama import Ollama
from tests.support.places import FakePlace

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")


def written(folder: Path, text: str, mode: int = 0o644) -> Path:
    path = folder / "p.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def looked(path: Path) -> list[str]:
    return short(check_config_file(path, *read_config_and_files(path)))


PUBLISHED = "broker: http://b\nproviders:\n- {name: m, url: 'http://x/v1', publish: true}\n"


@posix
@pytest.mark.parametrize(
    "field",
    [
        "token: rv_secret\n",
        "proxy: http://u:hunter2@p:1\n",
        "- {name: n, url: 'http://x/v1', publish: true, apiKey: sk-secret}\n",
        "- {name: n, url: 'http://x/v1', publish: true, wake: {type: http, url: 'http://w', headers: {Authorization: abcdef}}}\n",
        "- {name: n, url: 'http://x/v1', publish: true, wake: {type: command, command: x, env: {HF_TOKEN: hf_secret}}}\n",
    ],
    ids=["token", "proxy", "apiKey", "header", "env"],
)
def test_a_file_with_secrets_that_others_may_read_is_doubtful(home, field):
    text = PUBLISHED + field if field.startswith("-") else field + PUBLISHED
    for mode, doubtful in ((0o644, True), (0o640, True), (0o600, False)):
        path = written(home, text, mode)
        warned = f"warning: it holds secrets, and other users may read it | chmod 600 {path}" in looked(path)
        assert warned is doubtful, oct(mode)


@posix
def test_a_secret_out_of_a_variable_is_not_in_the_file(home, monkeypatch):
    monkeypatch.setenv("T", "rv_secret")
    assert looked(written(home, "token: ${T}\n" + PUBLISHED)) == ["ok: 1 entry is published"]


@posix
def test_a_secrets_own_file_must_not_be_read_by_others_either(home):
    (home / "token").write_text("rv_secret\n")
    (home / "token").chmod(0o644)
    path = written(home, "tokenFile: token\n" + PUBLISHED)
    assert looked(path)[1:] == [
        f"warning: other users may read the secret in {home / 'token'} | chmod 600 {home / 'token'}"
    ]
    (home / "token").chmod(0o600)
    assert len(looked(path)) == 1


def test_a_file_that_publishes_nothing_or_nowhere_is_an_error(home):
    path = written(home, "providers:\n- {name: m, url: 'http://x/v1'}\n", 0o600)
    assert looked(path) == [
        'error: nothing is published | set "publish": true on a provider', 'error: no broker is named | set "broker", or BROKER_URL'
    ]


# ── recipes ─────────────────────────────────────────────────────────────────


async def of(*steps, offline: bool = False) -> list[str]:
    return short(await check_recipes(Provider("m", "http://x/v1", "m", wake=Recipe(steps)), offline))


WELL = ["ok: what it needs is there"]


@posix
async def test_programs_must_be_there_and_executable_and_are_not_run(home):
    program = home / "start"
    program.write_text(f"#!/bin/sh\ntouch {home / 'ran'}\n")
    assert await of(Command(str(program))) == [f"error: {program} is not executable | chmod +x {program}"]
    program.chmod(0o755)
    assert await of(Command(str(program)), Process("start", directory=str(home), env={"PATH": str(home)})) == WELL
    together = f"{program} --now"
    assert await of(Command(together)) == [
        f"error: there is no program {together} | {program} is there: the rest belongs into args"
    ]
    assert not (home / "ran").exists()
    assert await of(Command(str(home))) == [f"error: {home} is a folder | name the program in it"]
    assert await of(Command(str(home / "no"))) == [f"error: there is no program {home / 'no'} | correct its path"]
    [found] = await of(Process("no-such-program"))
    assert found.startswith("error: there is no program no-such-program on the PATH | a service may have another PATH")


async def test_a_directory_must_be_there(home):
    [found] = await of(Command(sys.executable, directory=str(home / "no")))
    assert found.startswith(f"error: its directory {home / 'no'} does not exist | create it")


async def test_a_log_file_must_be_writable(home):
    (home / "file").write_text("")
    assert await of(Process(sys.executable, log_file=str(home / "new" / "folder" / "log"))) == WELL
    [found] = await of(Process(sys.executable, log_file=str(home / "file" / "log")))
    assert found.startswith("warning: the server's output cannot be kept in ") and "is not a folder" in found
    assert not (home / "new").exists()


async def test_hosts_must_resolve_unless_offline_or_first_woken(home):
    gone = "no-such-host.invalid"
    assert await of(Http(f"http://{gone}:1/wake")) == [
        f"error: the name {gone} does not resolve | correct the recipe, or use the machine's address"
    ]
    assert await of(Http(f"http://{gone}/"), offline=True) == WELL
    [found] = await of(WakeOnLan("aa:bb:cc:dd:ee:ff"), WaitFor(f"http://{gone}/"))
    assert found.startswith("warning: the name ")
    assert await of(Http("http://localhost:1/"), Http("http://[::1]/"), WakeOnLan("aa:bb:cc:dd:ee:ff")) == WELL


async def test_both_recipes_are_looked_at():
    provider = Provider("m", "http://x/v1", "m", wake=Recipe((Process(sys.executable),)), sleep=Recipe((StopProcess(),)))
    found = await check_recipes(provider, False)
    assert [finding.subject for finding in found] == ['wake recipe of "m"', 'sleep recipe of "m"']


# ── the session's file ──────────────────────────────────────────────────────


def test_a_session_that_cannot_be_kept_is_doubtful(home, monkeypatch):
    assert short(check_session_file("http://b", "x")) == [f"ok: the session is kept in {home / 'state' / 'reveille'}"]
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "file"))
    [found] = short(check_session_file("http://b", "x"))
    assert found.startswith("warning: the session cannot be kept in ") and "is not a folder" in found


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_not_writable(home):
    (home / "locked").mkdir(mode=0o500)
    assert "may not be written" in why_not_writable(home / "locked" / "file")


def test_a_folder_in_the_files_place_is_not_writable(home):
    assert "is a folder" in why_not_writable(home)


# ── the verb ────────────────────────────────────────────────────────────────


async def test_all_is_well_with_a_broker_a_server_and_a_tidy_file(home):
    async with replica(FakePlace()) as broker, Ollama(["m"]) as server:
        path = written(home, f"broker: {broker.url}\nproviders:\n- {{name: m, type: ollama, url: '{server.url}', slots: 1, publish: true}}\n")
        told = await verb("check", "--config", str(path), PYTHONIOENCODING="utf-8")
        assert (told.code, told.err) == (0, "")
        assert told.out.splitlines()[-1] == "all is well" and "  ✓ the server has m" in told.out
        as_json = json.loads((await verb("check", "--config", str(path), "--json")).out)
    assert (as_json["errors"], as_json["warnings"]) == (0, 0)
    assert {"subject": 'backend of "m"', "level": "ok", "what": "it answers", "remedy": ""} in as_json["findings"]


async def test_errors_are_shown_with_their_remedy_and_exit_code_1(home):
    path = written(home, PUBLISHED.replace("http://b", "http://127.0.0.1:9").replace("http://x", "http://127.0.0.1:9"))
    told = await verb("check", "--config", str(path), PYTHONIOENCODING="ascii")
    assert told.code == 1 and told.out.splitlines()[-1] == "2 errors, 0 warnings"
    assert "  x nobody listens at 127.0.0.1:9\n    start the broker" in told.out
    offline = await verb("check", "--config", str(path), "--offline")
    assert offline.code == 0 and "127.0.0.1:9/v1" not in offline.out


async def test_warnings_alone_are_exit_code_0(home):
    path = written(home, "token: rv_secret\n" + PUBLISHED)
    told = await verb("check", "--config", str(path), "--offline", PYTHONIOENCODING="ascii")
    assert told.code == 0 and told.out.splitlines()[-1] == "0 errors, 1 warning" and "  ! it holds secrets" in told.out
    assert "rv_secret" not in told.out


async def test_a_file_with_a_mistake_is_the_only_finding(home):
    path = written(home, "providers:\n- {name: m, modle: x}\n")
    told = await verb("check", "--config", str(path))
    assert told.code == 1 and "modle" in told.out and told.out.splitlines()[-1] == "1 error, 0 warnings"


async def test_without_any_file_it_says_what_writes_one(home):
    told = await verb("check")
    assert told.code == 1 and "publisher init writes one" in told.out and str(home) in told.out


async def test_flags_and_variables_come_before_the_file(home):
    path = written(home, PUBLISHED)
    told = await verb("check", "--config", str(path), "--broker", "http://127.0.0.1:9")
    assert "broker http://127.0.0.1:9\n" in told.out and "broker http://b\n" not in told.out
    told = await verb("check", "--config", str(path), BROKER_URL="http://127.0.0.1:9")
    assert "broker http://127.0.0.1:9\n" in told.out
