"""Secrets that stand in files, and that no complaint shows what was written."""

import json

import pytest

from publisher.config.file import read_config
from publisher.config.secrets import secret_file
from publisher.config.values import ConfigError
from tests.publisher.config.writing import PROVIDER, complaint, provider, read, write


@pytest.mark.parametrize("content", ["k3y", "k3y\n", "  k3y\r\n\n", "\ufeffk3y\n"])
def test_what_stands_around_a_secret_is_left_out(tmp_path, content):
    (tmp_path / "key").write_text(content, encoding="utf-8")
    assert secret_file(tmp_path / "key", "BROKER_TOKEN_FILE") == "k3y"
    assert provider(tmp_path, apiKeyFile="key").api_key == "k3y"


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"k3y\nk3y\n", "must hold one line without control characters"),
        (b"k3y\0", "must hold one line without control characters"),
        (b"k3y\xff", "is not UTF-8 text"),
        (b"k3y" * 10_000, "is too large for a secret"),
    ],
)
def test_a_file_that_holds_no_secret_is_named_and_not_shown(tmp_path, content, said):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError) as told:
        secret_file(tmp_path / "key", "BROKER_TOKEN_FILE")
    assert str(told.value) == f"BROKER_TOKEN_FILE: {tmp_path / 'key'} {said}"
    said = complaint(tmp_path, {"providers": [PROVIDER | {"apiKeyFile": "key"}]})
    assert said.startswith(f'publisher.json:1: providers[0] ("a"): apiKeyFile: {tmp_path / "key"} ') and "k3y" not in said


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ConfigError) as told:
            secret_file(str(path), "BROKER_TOKEN_FILE")
        assert str(told.value).startswith(f"BROKER_TOKEN_FILE: {path} cannot be read: ")


def test_a_key_and_its_file_are_one_too_many(tmp_path):
    said = complaint(tmp_path, {"providers": [PROVIDER | {"apiKey": "k3y", "apiKeyFile": "key"}]})
    assert said.endswith("apiKeyFile: stands beside apiKey: only one of them can count")


def test_the_key_of_what_is_not_published_is_not_read(tmp_path):
    config = read(tmp_path, {"providers": [PROVIDER | {"publish": False, "apiKeyFile": "nothing"}]})
    assert config.unpublished == 1


MARK = "M4RK"
FULL = {
    "broker": "https://broker.example", "token": "x", "proxy": "none", "caFile": "ca.pem",
    "providers": [
        PROVIDER | {
            "name": "one", "type": "ollama", "model": "m", "apiKey": "x", "slots": 2, "aliases": ["b"], "tier": "fast",
            "description": "x", "extraConfig": {"a": 1}, "idleSeconds": 5, "minAwakeSeconds": 5, "group": "g", "canary": "chat",
            "groupWaitSeconds": 5, "warmHours": [{"days": "mon", "from": "08:00", "to": "18:00", "timezone": "UTC"}],
            "wake": {"type": "steps", "maxWaitSeconds": 5, "steps": [
                {"type": "http", "url": "http://x", "method": "GET", "headers": {"A": "b"}, "body": "x"},
                {"type": "command", "command": "x", "args": ["x"], "timeoutSeconds": 5, "env": {"A": "b"}, "directory": "x"},
                {"type": "process", "command": "x", "args": ["x"], "logFile": "x", "graceSeconds": 1},
                {"type": "native", "keepAlive": "5m"},
                {"type": "wake-on-lan", "mac": "aa:bb:cc:dd:ee:ff", "broadcast": "x", "port": 9},
                {"type": "wait", "url": "http://x", "timeoutSeconds": 5},
            ]},
            "sleep": {"type": "process"},
        },
        PROVIDER | {"name": "two/{model}", "models": ["*", {"match": "b", "name": "c", "slots": 1, "tier": "fast"}]},
    ],
    "agents": [{"name": "a", "llmName": "one", "description": "x", "systemPrompt": "x", "project": "p",
                "defaultParams": {}, "extras": {}}, {"name": "b", "model": "m"}],
    "tools": [
        {"name": "t", "publish": True, "command": "x", "args": ["x"], "env": {"A": "b"}, "cwd": "x", "description": "x", "slots": 2,
         "idleSeconds": 5, "timeoutSeconds": 5},
        {"name": "u", "publish": True, "url": "http://x"},
    ],
}


def places(value, at=()):
    yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def changed(at, wrong):
    """The full file, with something else at that place."""
    file = json.loads(json.dumps(FULL))
    inner = file
    for part in at[:-1]:
        inner = inner[part]
    inner[at[-1]] = wrong
    return file


WRONG = [MARK, f"http://{MARK}:x", f"_{MARK}", f"{MARK}\n", f"${{{MARK}", [MARK], [[MARK]], {"type": MARK}, {"a": MARK}, {"a": [MARK]},
         -1, 0.5, 1e300, True, None, [], {}, ""]


@pytest.mark.parametrize("at", [at for at in places(FULL) if at], ids=lambda at: ".".join(map(str, at)))
@pytest.mark.parametrize(("name", "wrongs"), [("publisher.json", WRONG), ("publisher.yaml", WRONG[::4])])
def test_whatever_stands_anywhere_the_complaint_has_a_line_and_no_value(tmp_path, at, name, wrongs):
    for wrong in wrongs:
        try:
            read_config(write(tmp_path, json.dumps(changed(at, wrong), indent=1), name))
        except ConfigError as err:
            said = str(err)
            assert said.startswith(f"{name}:") and said.split(":")[1].isdigit(), said
            assert "\n" not in said
            if at[-1] != "name":  # entries are told by their names
                assert MARK not in said, said


NARROW = [at for at in places(FULL) if at and isinstance(at[-1], str) and not {"extraConfig", "defaultParams", "extras"} & set(at)]


@pytest.mark.parametrize("at", NARROW, ids=lambda at: ".".join(map(str, at)))
def test_a_mistake_is_found_on_its_own_line(tmp_path, at):
    """A number in place of a list or an object, an object in place of everything else."""
    inner = FULL
    for part in at:
        inner = inner[part]
    text = json.dumps(changed(at, 5 if isinstance(inner, dict | list) else {"wrong": "here"}), indent=1)
    said = complaint(tmp_path, text)
    shown = text.split("\n")[int(said.split(":")[1]) - 1].strip()
    # What is wrong in headers and env is told by the line on which those begin.
    assert shown.startswith(f'"{at[-2] if at[-2:-1] in (("headers",), ("env",)) else at[-1]}"'), said
