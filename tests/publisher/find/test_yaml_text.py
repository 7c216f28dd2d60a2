"""The file that is written: read back it says what was meant, whatever the names hold."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from publisher.config.values import Provider
from publisher.config.variables import filled
from publisher.find.choice import sleeping
from publisher.find.yaml_text import quoted, yaml_text

PLAIN = Provider(name="a", url="http://127.0.0.1:8000/v1", model="org/a")
TIRED = sleeping(Provider(name="b", url="http://127.0.0.1:11434", model="b:8b", type="ollama"), 900)


def test_the_file_says_what_was_meant_and_explains_each_field_once():
    text = yaml_text("https://b.example", "publisher.token", (PLAIN, TIRED), {PLAIN.url: "k.key"})
    assert yaml.safe_load(text) == {
        "broker": "https://b.example", "tokenFile": "publisher.token",
        "providers": [
            {"name": "a", "type": "openai", "url": "http://127.0.0.1:8000/v1", "model": "org/a", "publish": True,
             "apiKeyFile": "k.key"},
            {"name": "b", "type": "ollama", "url": "http://127.0.0.1:11434", "model": "b:8b", "publish": True,
             "wake": {"type": "native"}, "sleep": {"type": "native"}, "idleSeconds": 900},
        ],
    }
    for told in ("what clients ask for", "unloads it", "holds the key", "holds a publisher token"):
        assert text.count(told) == 1


def test_half_seconds_stay_numbers_and_large_ones_too():
    for idle_s in (0.5, 86_400_000.0):
        (entry,) = yaml.safe_load(yaml_text("b", None, (sleeping(PLAIN, idle_s),), {}))["providers"]
        assert entry["idleSeconds"] == idle_s


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.text("${}a"))
def test_any_text_is_read_back_as_it_was(text):
    assert filled(yaml.safe_load(f"a: {quoted(text)}  # note")) == {"a": text}
