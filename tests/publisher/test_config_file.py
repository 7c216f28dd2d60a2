"""The config file: what it says, and how every mistake in it is named."""

import json

import pytest

from publisher.config.file import read_config, read_config_and_files
from publisher.config.values import BrokerAddress, Command, ConfigError, Http, Recipe, WarmHours
from tests.publisher.config.writing import PROVIDER, complaint, provider, read, write


def test_a_whole_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("BROKER_TOKEN", "t0k")
    config = read(tmp_path, {
        "$schema": "./publisher.schema.json", "broker": "https://broker.example", "token": "${BROKER_TOKEN}",
        "providers": [
            {**PROVIDER, "type": "openai", "model": "qwen3", "apiKey": "k", "slots": 4, "tier": "heavy",
             "description": "d", "extraConfig": {"a": 1}, "aliases": ["b"], "idleSeconds": 600, "minAwakeSeconds": 0,
             "group": "gpu", "groupWaitSeconds": 0, "canary": True,
             "warmHours": [{"days": "fri-mon, wed", "from": "22:00", "to": "24:00", "timezone": "Europe/Berlin"},
                           {"from": "08:00", "to": "07:30"}],
             "wake": {"type": "http", "url": "http://10.0.0.50/wake", "headers": {"A": "b"}, "maxWaitSeconds": 5},
             "sleep": {"type": "command", "command": "/bin/stop", "args": ["now"], "timeoutSeconds": 7}},
            {"name": "hidden", "url": "http://127.0.0.1:1/v1"},
        ],
        "agents": [{"name": "a", "llmName": "a", "systemPrompt": "x", "defaultParams": {"top_p": 1}}],
    })
    assert config.brokers == (BrokerAddress("https://broker.example", "t0k"),)
    assert [p.name for p in config.providers] == ["a"] and config.unpublished == 1
    told = config.providers[0]
    assert (told.model, told.slots, told.tier, told.max_wait_s, told.aliases) == ("qwen3", 4, "heavy", 5, ("b",))
    assert (told.idle_s, told.min_awake_s, told.group, told.group_wait_s, told.canary) == (600, 0, "gpu", 0, "chat")
    assert told.warm_hours == (
        WarmHours(frozenset({4, 5, 6, 0, 2}), 1320, 1440, "Europe/Berlin"), WarmHours(frozenset(range(7)), 480, 450),
    )
    assert told.wake == Recipe((Http("http://10.0.0.50/wake", "POST", {"A": "b"}, ""),))
    assert told.sleep == Recipe((Command("/bin/stop", ("now",), 7),))
    assert config.agents[0].system_prompt == "x"
    assert "t0k" not in repr(config) and "'k'" not in repr(config)


def test_what_is_left_out_has_its_default(tmp_path):
    told = provider(tmp_path)
    assert (told.model, told.type, told.slots, told.wake, told.sleep, told.tier) == ("a", "openai", None, None, None, None)
    assert (told.max_wait_s, told.idle_s, told.min_awake_s, told.canary, told.patterns) == (60, None, 10, None, ())
    assert (told.group_wait_s, told.warm_hours) == (60, ())


def test_null_is_the_same_as_left_out(tmp_path):
    nulls = dict.fromkeys(["model", "models", "apiKey", "slots", "aliases", "tier", "description", "wake", "sleep"])
    assert provider(tmp_path, **nulls) == provider(tmp_path)


def test_variables_are_filled_in_everywhere_and_can_be_escaped(tmp_path, monkeypatch):
    monkeypatch.setenv("HOST", "gpu.lan")
    monkeypatch.setenv("SLOTS", "3")
    monkeypatch.setenv("SHOWN", "true")
    told = provider(tmp_path, url="http://${HOST}/v1", slots="${SLOTS}", publish="${SHOWN}",
                    description="$${HOST} costs $5", wake={"type": "command", "command": "x", "args": ["${HOST}"]})
    assert (told.url, told.slots, told.description) == ("http://gpu.lan/v1", 3, "${HOST} costs $5")
    assert told.wake.steps[0].args == ("gpu.lan",)


def test_an_empty_variable_is_no_key_and_no_token(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTHING", "")
    config = read(tmp_path, {"broker": "http://b", "token": "${NOTHING}", "providers": [PROVIDER | {"apiKey": "${NOTHING}"}]})
    assert config.brokers[0].token is None and config.providers[0].api_key is None


@pytest.mark.parametrize(("type_", "url"), [("ollama", "http://127.0.0.1:11434"), ("anthropic", "https://api.anthropic.com")])
def test_other_types_than_openai_have_a_usual_address(tmp_path, type_, url):
    config = read(tmp_path, {"providers": [{"name": "a", "publish": True, "type": type_}]})
    assert config.providers[0].url == url


def test_one_canary_is_told_by_true_and_others_by_name(tmp_path):
    wake = {"type": "command", "command": "x"}
    assert provider(tmp_path, wake=wake, canary=True).canary == "chat"
    assert provider(tmp_path, wake=wake, canary="embeddings").canary == "embeddings"
    assert provider(tmp_path, wake=wake, canary=False).canary is None


SECOND = [PROVIDER | {"name": "first"}]


@pytest.mark.parametrize(
    "written, said",
    [
        ({"providers": [*SECOND, PROVIDER | {"wake": {"type": "command", "command": "x", "maxWaitSeconds": 0}}]},
         'providers[1] ("a"): wake.maxWaitSeconds: must be a number above 0'),
        ({"providers": [PROVIDER | {"slots": "many"}]}, 'providers[0] ("a"): slots: must be a whole number above 0'),
        ({"providers": [PROVIDER | {"slots": True}]}, 'providers[0] ("a"): slots: must be a whole number above 0'),
        ({"providers": [PROVIDER | {"slots": 1.5}]}, 'providers[0] ("a"): slots: must be a whole number above 0'),
        ({"providers": [PROVIDER | {"slots": 0}]}, 'providers[0] ("a"): slots: must be a whole number above 0'),
        ({"providers": [PROVIDER | {"modle": "x"}]},
         'providers[0] ("a"): modle: is not a known field; did you mean "model"?'),
        ({"providers": [PROVIDER | {"wake": {"type": "command", "command": "x", "maxWait": 1}}]},
         'providers[0] ("a"): wake.maxWait: is not a known field; did you mean "maxWaitSeconds"?'),
        ({"providers": [PROVIDER | {"sleep": {"type": "command", "command": "x", "maxWaitSeconds": 1}}]},
         'providers[0] ("a"): sleep.maxWaitSeconds: belongs directly into wake'),
        ({"brokr": "http://x"}, 'brokr: is not a known field; did you mean "broker"?'),
        ({"providers": [{"name": "x", "publish": True}]}, 'providers[0] ("x"): url: is missing'),
        ({"providers": [{"url": "http://x/v1"}]}, "providers[0]: name: is missing"),
        ({"providers": [PROVIDER | {"url": "localhost:8000"}]},
         'providers[0] ("a"): url: must be an address like "http://127.0.0.1:8000/v1"'),
        ({"providers": [PROVIDER | {"url": "http://x/v1 "}]},
         'providers[0] ("a"): url: must be an address like "http://127.0.0.1:8000/v1"'),
        ({"providers": [PROVIDER | {"url": "http://x:99999/v1"}]},
         'providers[0] ("a"): url: is not an address that can be called: see its host and port'),
        ({"providers": [PROVIDER | {"url": "http://[::1/v1"}]},
         'providers[0] ("a"): url: is not an address that can be called: see its host and port'),
        ({"providers": [PROVIDER | {"type": "opnai"}]},
         'providers[0] ("a"): type: must be "anthropic", "llamacpp", "lmstudio", "ollama", "openai" or "vllm"; '
         'did you mean "openai"?'),
        ({"providers": [PROVIDER | {"wake": {"command": "x"}}]},
         'providers[0] ("a"): wake.type: is missing; known are "http", "command", "process", "native", "wake-on-lan", '
         '"wait" or "steps"'),
        ({"providers": [PROVIDER | {"wake": {"type": "comand"}}]},
         'providers[0] ("a"): wake.type: must be "http", "command", "process", "native", "wake-on-lan", "wait" or '
         '"steps"; did you mean "command"?'),
        ({"providers": [PROVIDER | {"wake": "x"}]}, 'providers[0] ("a"): wake: must be an object { … }'),
        ({"providers": [PROVIDER | {"wake": {"type": "steps", "steps": [{"type": "http", "url": "x"}]}}]},
         'providers[0] ("a"): wake.steps[0].url: must be an address like "http://127.0.0.1:8000/v1"'),
        ({"providers": [PROVIDER | {"wake": {"type": "http", "url": "http://x", "method": "PUT"}}]},
         'providers[0] ("a"): wake.method: must be "GET" or "POST"'),
        ({"providers": [PROVIDER | {"wake": {"type": "http", "url": "http://x", "headers": {"A": "b\nc"}}}]},
         'providers[0] ("a"): wake.headers: must be an object of one-line texts like { "Authorization": "Bearer …" }'),
        ({"providers": [PROVIDER | {"wake": {"type": "http", "url": "http://x", "headers": {"A b": "c"}}}]},
         'providers[0] ("a"): wake.headers: must be an object of one-line texts like { "Authorization": "Bearer …" }'),
        ({"providers": [PROVIDER | {"publish": "maybe"}]}, 'providers[0] ("a"): publish: must be true or false'),
        ({"providers": [PROVIDER | {"apiKey": "k\n"}]},
         'providers[0] ("a"): apiKey: must be one line without control characters'),
        ({"providers": [PROVIDER | {"name": "_x"}]},
         'providers[0] ("_x"): name: must have 1 to 128 characters, none of them a control character, and not start '
         'with "_"'),
        ({"providers": [PROVIDER | {"name": "x\n"}]},
         'providers[0]: name: must have 1 to 128 characters, none of them a control character, and not start with "_"'),
        ({"providers": [PROVIDER | {"name": "x" * 129}]}, f'providers[0] ("{"x" * 129}"): name: must have 1 to 128 '
         'characters, none of them a control character, and not start with "_"'),
        ({"providers": [PROVIDER | {"name": 5}]}, "providers[0]: name: must be text, in quotes"),
        ({"providers": [PROVIDER, PROVIDER]}, 'providers[1] ("a"): name: providers[0].name has the same'),
        ({"providers": [PROVIDER | {"aliases": ["b", "b"]}]}, 'providers[0] ("a"): aliases[1]: providers[0].aliases[0] has the same'),
        ({"providers": [PROVIDER | {"aliases": ["x"]}, PROVIDER | {"name": "x"}]},
         'providers[1] ("x"): name: providers[0].aliases[0] has the same'),
        ({"agents": [{"name": "a"}]}, 'agents[0] ("a"): llmName: is missing: an agent needs an LLM that answers, or a model'),
        ({"agents": [{"name": "a", "llmName": "b"}] * 2}, 'agents[1] ("a"): name: agents[0].name has the same'),
        ({"providers": ["x"]}, "providers[0]: must be an object { … }"),
        ({"providers": {}}, "providers: must be a list [ … ]"),
        ({"providers": [PROVIDER | {"model": ""}]}, 'providers[0] ("a"): model: must not be empty'),
        ({"providers": [PROVIDER | {"apiKey": "${NOT_SET_HERE}"}]},
         'providers[0] ("a"): apiKey: the environment variable NOT_SET_HERE is not set'),
        ({"providers": [PROVIDER | {"description": "a\0b"}]}, 'providers[0] ("a"): description: holds a NUL character'),
        ({"providers": [PROVIDER | {"extraConfig": {"n": 10**30}}]},
         'providers[0] ("a"): extraConfig.n: is too large a number'),
    ],
)
def test_a_mistake_is_named_with_file_line_entry_and_field(tmp_path, written, said):
    assert complaint(tmp_path, written) == f"publisher.json:1: {said}"


@pytest.mark.parametrize(
    "text, said",
    [
        ("[]", 'publisher.json: must hold fields, such as "broker" and "providers"'),
        ('{"broker": "http://x",\n "providers": [}', "publisher.json:2:16: Expecting value"),
        ("", "publisher.json:1:1: Expecting value; the file is empty"),
        ('{"a": [', "publisher.json:1:8: Expecting value; the file ends too early"),
        ("{'broker': 1}", "publisher.json:1:2: Expecting property name enclosed in double quotes; JSON has its texts in "
         "double quotes"),
        ('{"providers": [{"publish": True}]}', "publisher.json:1:28: Expecting value; JSON writes true, false and null"),
        (r'{"a": "C:\models"}', "publisher.json:1:10: Invalid \\escape; in a text of JSON each \\ is "
         "written twice"),
        ("broker: http://x\n", "publisher.json:1:1: Expecting value; if this is YAML, let the file's name end in .yaml"),
        ('{\n  // mine\n}', "publisher.json:2:3: Expecting property name enclosed in double quotes; JSON has no comments, "
         "a file that ends in .yaml may have them"),
        ('{"broker": NaN}', "publisher.json: NaN is not a number that JSON has"),
        ('{"providers": [{"slots":\n\t1e999}]}', "publisher.json:1: providers[0]: slots: is too large a number"),
        ('{"providers": [{\n\t"name": "a",\n\t"name": "b"}]}', "publisher.json:3: providers[0]: name: is written twice"),
        ("[" * 50_000, "publisher.json: is nested too deeply"),
        ('{"agents": ' + "[" * 300 + "]" * 300 + "}", "publisher.json:1: agents[0]: [0]: is nested too deeply"),
        (r'{"token": "\ud800"}', "publisher.json:1: token: is not proper Unicode text"),
    ],
)
def test_text_that_is_no_proper_json_is_named_with_its_place(tmp_path, text, said):
    assert complaint(tmp_path, text) == said


def test_a_file_that_is_not_there_is_named_with_its_path(tmp_path):
    with pytest.raises(ConfigError, match="nothing.json: cannot be read: No such file"):
        read_config(tmp_path / "nothing.json")


def test_a_folder_and_foreign_bytes_are_no_config(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path)
    (tmp_path / "publisher.json").write_bytes(b"\xff\xfe{\0}\0")
    with pytest.raises(ConfigError, match="^publisher.json: is not UTF-8 text: save it as UTF-8$"):
        read_config(tmp_path / "publisher.json")


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "publisher.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"providers": [PROVIDER]}).encode())
    assert read_config(path).providers[0].name == "a"


@pytest.mark.parametrize("text", ['{"providers": []}', "providers: []\n"])
def test_a_file_without_a_known_ending_is_told_by_its_first_sign(tmp_path, text):
    assert read(tmp_path, text, "config").providers == ()


def test_the_files_that_belong_to_a_config_are_told(tmp_path):
    (tmp_path / "token").write_text(" t0k\n")
    (tmp_path / "key").write_text("k3y\n")
    path = write(tmp_path, {
        "broker": "https://b", "tokenFile": "token", "caFile": "ca.pem",
        "providers": [PROVIDER | {"apiKeyFile": "./key"}, {"name": "b", "url": "http://x", "apiKeyFile": "not-there"}],
    })
    config, files = read_config_and_files(path)
    assert (config.brokers[0].token, config.providers[0].api_key) == ("t0k", "k3y")
    assert config.brokers[0].ca_file == str(tmp_path / "ca.pem")
    assert set(files) == {tmp_path / "token", tmp_path / "key", tmp_path / "ca.pem"}
