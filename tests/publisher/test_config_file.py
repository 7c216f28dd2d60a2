"""The config file: what it says, and how every mistake in it is named."""

import json

import pytest

from publisher.config import CommandRecipe, ConfigError, HttpRecipe
from publisher.config_file import read_config

PROVIDER = {"name": "vllm-local", "publish": True, "url": "http://127.0.0.1:8000/v1"}


def read(tmp_path, written):
    path = tmp_path / "publisher.json"
    path.write_text(written if isinstance(written, str) else json.dumps(written))
    return read_config(path)


def complaint(tmp_path, written) -> str:
    with pytest.raises(ConfigError) as told:
        read(tmp_path, written)
    return str(told.value)


def test_a_whole_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("BROKER_TOKEN", "t0k")
    config = read(tmp_path, {
        "broker": "https://broker.example", "token": "${BROKER_TOKEN}",
        "providers": [
            {**PROVIDER, "type": "openai", "model": "qwen3", "apiKey": "k", "slots": 4, "tier": "heavy",
             "description": "d", "extraConfig": {"a": 1},
             "wake": {"type": "http", "url": "http://10.0.0.50/wake", "headers": {"A": "b"}, "maxWaitSeconds": 5},
             "sleep": {"type": "command", "command": "/bin/stop", "args": ["now"], "timeoutSeconds": 7}},
            {"name": "hidden", "url": "http://127.0.0.1:1/v1"},
        ],
        "agents": [{"name": "a", "llmName": "vllm-local", "systemPrompt": "x", "defaultParams": {"top_p": 1}}],
    })
    assert config.token == "t0k" and [p.name for p in config.providers] == ["vllm-local"]
    told = config.providers[0]
    assert (told.model, told.slots, told.tier, told.max_wait_s) == ("qwen3", 4, "heavy", 5)
    assert told.wake == HttpRecipe("http://10.0.0.50/wake", "POST", {"A": "b"}, "")
    assert told.sleep == CommandRecipe("/bin/stop", ("now",), 7)
    assert config.agents[0].system_prompt == "x"
    assert "t0k" not in repr(config) and "'k'" not in repr(config)


def test_what_is_left_out_has_its_default(tmp_path):
    told = read(tmp_path, {"providers": [PROVIDER]}).providers[0]
    assert (told.model, told.slots, told.wake, told.sleep, told.tier) == ("vllm-local", 1, None, None, None)


def test_variables_are_filled_in_everywhere_and_can_be_escaped(tmp_path, monkeypatch):
    monkeypatch.setenv("HOST", "gpu.lan")
    monkeypatch.setenv("SLOTS", "3")
    told = read(tmp_path, {"providers": [{**PROVIDER, "url": "http://${HOST}/v1", "slots": "${SLOTS}",
                                          "description": "$${HOST} costs $5"}]}).providers[0]
    assert (told.url, told.slots, told.description) == ("http://gpu.lan/v1", 3, "${HOST} costs $5")


@pytest.mark.parametrize(
    "written, said",
    [
        ({"providers": [PROVIDER | {"name": "a"}, PROVIDER | {"wake": {"type": "command", "command": "x",
          "maxWaitSeconds": 0}}]},
         'publisher.json: providers[1] ("vllm-local"): wake.maxWaitSeconds: must be a number above 0'),
        ({"providers": [PROVIDER | {"slots": "many"}]},
         'publisher.json: providers[0] ("vllm-local"): slots: must be a number'),
        ({"providers": [PROVIDER | {"slots": True}]},
         'publisher.json: providers[0] ("vllm-local"): slots: must be a number'),
        ({"providers": [PROVIDER | {"slots": 1.5}]},
         'publisher.json: providers[0] ("vllm-local"): slots: must be a whole number'),
        ({"providers": [PROVIDER | {"modle": "x"}]},
         'publisher.json: providers[0] ("vllm-local"): modle: is not a known field; did you mean "model"?'),
        ({"providers": [PROVIDER | {"wake": {"type": "command", "command": "x", "maxWait": 1}}]},
         'publisher.json: providers[0] ("vllm-local"): wake.maxWait: is not a known field; '
         'did you mean "maxWaitSeconds"?'),
        ({"brokr": "http://x"}, 'publisher.json: brokr: is not a known field; did you mean "broker"?'),
        ({"providers": [{"name": "x", "publish": True}]}, 'publisher.json: providers[0] ("x"): url: is missing'),
        ({"providers": [PROVIDER | {"url": "localhost:8000"}]},
         'publisher.json: providers[0] ("vllm-local"): url: must be an address like "http://127.0.0.1:8000/v1"'),
        ({"providers": [PROVIDER | {"type": "opnai"}]},
         'publisher.json: providers[0] ("vllm-local"): type: must be "openai"'),
        ({"providers": [PROVIDER | {"wake": {"command": "x"}}]},
         'publisher.json: providers[0] ("vllm-local"): wake: type must be "http" or "command"'),
        ({"providers": [PROVIDER | {"name": "_x"}]},
         'publisher.json: providers[0] ("_x"): name: must have 1 to 128 characters, none of them a control '
         'character, and not start with "_"'),
        ({"providers": [PROVIDER, PROVIDER]},
         'publisher.json: providers[1] ("vllm-local"): name: providers[0] has the same'),
        ({"agents": [{"name": "a"}]}, 'publisher.json: agents[0] ("a"): llmName: is missing'),
        ({"providers": ["x"]}, "publisher.json: providers[0]: must be an object { … }"),
        ({"providers": {}}, "publisher.json: providers: must be a list [ … ]"),
        ([], "publisher.json: must be an object { … }"),
        ({"providers": [PROVIDER | {"model": ""}]}, 'publisher.json: providers[0] ("vllm-local"): model: must not be empty'),
        ({"providers": [PROVIDER | {"apiKey": "${NOT_SET_HERE}"}]},
         "publisher.json: providers[0].apiKey: the environment variable NOT_SET_HERE is not set"),
        ('{"broker": "http://x",\n "providers": [}', "publisher.json: line 2, column 16: Expecting value"),
    ],
)
def test_a_mistake_is_named_with_file_entry_and_field(tmp_path, written, said):
    assert complaint(tmp_path, written) == said


def test_several_mistakes_are_counted(tmp_path):
    assert complaint(tmp_path, {"providers": [{}]}).endswith("is missing (and 1 more)")


def test_a_file_that_is_not_there_is_named_with_its_path(tmp_path):
    with pytest.raises(ConfigError, match="nothing.json: cannot be read: No such file"):
        read_config(tmp_path / "nothing.json")
