"""YAML says the same as JSON, its mistakes have lines, and nothing in it surprises."""

import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.config import json_form, yaml_form
from publisher.config.file import read_config
from publisher.config.mistake import Mistake
from publisher.config.values import Command, Http
from tests.publisher.config.writing import complaint, read

FILE = """\
# what this machine has
broker: https://broker.example
providers:
  - name: a
    publish: true
    url: http://127.0.0.1:8000/v1
    slots: 4
    wake:
      type: steps
      steps:
        - type: http
          url: http://pdu.lan/on
          headers: {Authorization: "Bearer x"}
        - type: command
          command: /bin/start
          args: ["--port", "8000"]
      maxWaitSeconds: 90
    sleep: {type: command, command: /bin/stop}
"""


@pytest.mark.parametrize("name", ["publisher.yaml", "publisher.yml", "publisher.YAML"])
def test_a_yaml_file_is_read(tmp_path, name):
    told = read(tmp_path, FILE, name).providers[0]
    assert (told.name, told.slots, told.max_wait_s) == ("a", 4, 90)
    assert told.wake.steps == (Http("http://pdu.lan/on", headers={"Authorization": "Bearer x"}),
                               Command("/bin/start", ("--port", "8000")))


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("slots: 4", "slots: many", '7: providers[0] ("a"): slots: must be a whole number above 0'),
        ("publish: true", "publish: yes", '5: providers[0] ("a"): publish: must be true or false'),
        ("name: a", "name: 5", "4: providers[0]: name: must be text, in quotes"),
        ("name: a", "# no name", '5: providers[0]: name: is missing'),
        ('"8000"', "8000", '16: providers[0] ("a"): wake.steps[1].args[1]: must be text, in quotes'),
        ("url: http://pdu.lan/on", "url:", '12: providers[0] ("a"): wake.steps[0].url: must be text'),
        ("type: command\n", "type: comand\n", '14: providers[0] ("a"): wake.steps[1].type: must be "http", "command", '
         '"process", "native", "wake-on-lan" or "wait"; did you mean "command"?'),
        ("slots: 4", "slots: 4\n    slots: 5", '8: providers[0]: slots: is written twice'),
        ("slots: 4", "apiKey: !k3y x", '7: providers[0]: apiKey: tags (!…) are not known here; if text is meant, '
         "put it in quotes"),
        ("slots: 4", "extraConfig: !!set {a}", '7: providers[0]: extraConfig: tags (!…) are not known here; if text '
         "is meant, put it in quotes"),
        ("slots: 4", "slots: !!int x", '7: providers[0]: slots: is not what its tag (!!…) says'),
        ("slots: 4", "? [a]\n    : 4", '7: providers[0]: the name of a field must be a plain text'),
        ("slots: 4", "<<: 4", '7: providers[0]: << takes an object, or a list of objects'),
        ("slots: 4", "apiKey: ${NOT_SET_HERE}", '7: providers[0] ("a"): apiKey: the environment variable NOT_SET_HERE is '
         "not set"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, old, new, said):
    assert complaint(tmp_path, FILE.replace(old, new), "publisher.yaml") == f"publisher.yaml:{said}"


BROKEN = {
    "a: b: c": ':1:5: mapping values are not allowed in this context: a text that holds ": " belongs in quotes, unless '
    'the line above lacks its ":"',
    "providers:\n  - name: a\n   url: b": ":3:4: did not find expected '-' indicator: fields of one object must begin in "
    "the same column",
    "models: [a, b\nurl: c": ":2:4: did not find expected ',' or ']': a bracket, a comma or a quote is missing, here or before",
    "token: *k3y": ":1:8: * begins an alias here and is not a proper one; if text is meant, put it in quotes",
    "token: &": ":1:9: & begins an anchor here and is not a proper one; if text is meant, put it in quotes",
    "token: !k!3y x": ":1:8: ! begins a tag here and is not a proper one; if text is meant, put it in quotes",
    "token: @k3y": ":1:8: no text can begin with this sign; if text is meant, put it in quotes",
    "providers:\n\t- name: a": ":2:1: a tab stands where YAML wants spaces",
    "token: 'x": ":1:8: the quote that opens here is never closed",
    "a: 1\n---\nb: 2": ":2:1: a second document begins here; only one can be read",
    "token: \x07": ": holds a control character",
    "[" * 100_000: ":1: is nested too deeply",
    "agents: &a [*a]": ":1: agents: refers to itself, or multiplies, by its aliases",
    "- name: a": ': must hold fields, such as "broker" and "providers"',
    "hello": ': must hold fields, such as "broker" and "providers"',
}


@pytest.mark.parametrize(("text", "said"), BROKEN.items())
def test_text_that_is_no_proper_yaml_is_named_with_its_place(tmp_path, text, said):
    told = complaint(tmp_path, text, "publisher.yaml")
    assert told == f"publisher.yaml{said}" and "k3y" not in told


@pytest.mark.parametrize("text", BROKEN)
def test_without_the_c_parser_the_same_texts_are_refused_on_the_same_lines(tmp_path, monkeypatch, text):
    """Words and columns differ here and there."""
    fast = complaint(tmp_path, text, "publisher.yaml")
    monkeypatch.setattr(yaml_form, "_Loader", slow_loader())
    slow = complaint(tmp_path, text, "publisher.yaml")
    assert slow.split(":")[:2] == fast.split(":")[:2]
    assert "k3y" not in slow and "\n" not in slow


def slow_loader():
    """As where PyYAML came without its C part."""
    kind = type("Slow", (yaml.SafeLoader,), {})
    kind.yaml_implicit_resolvers = yaml_form._Loader.yaml_implicit_resolvers
    return kind


def test_aliases_that_multiply_are_refused_at_once(tmp_path):
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert complaint(tmp_path, text, "publisher.yaml").endswith("refers to itself, or multiplies, by its aliases")


def test_what_other_readers_turn_into_something_else_stays_text(tmp_path):
    with_mac = FILE.replace("    sleep:", "    extraConfig: {a: yes, b: 12:30, c: 2024-01-01, d: 010, e: 1_000, on: off, 7: x}\n    sleep:")
    told = read(tmp_path, with_mac, "publisher.yaml").providers[0]
    assert told.extra_config == {"a": "yes", "b": "12:30", "c": "2024-01-01", "d": "010", "e": "1_000", "on": "off", "7": "x"}


def test_a_mac_of_digits_only_needs_no_quotes(tmp_path):
    text = FILE.replace("{type: command, command: /bin/stop}", "null").replace(
        "type: http\n          url: http://pdu.lan/on\n          headers: {Authorization: \"Bearer x\"}",
        "type: wake-on-lan\n          mac: 12:34:56:12:34:56")
    assert read(tmp_path, text, "publisher.yaml").providers[0].wake.steps[0].mac == "12:34:56:12:34:56"


def test_merge_keys_are_filled_in_and_what_is_written_counts(tmp_path):
    config = read(tmp_path, """
providers:
  - &usual
    name: a
    publish: true
    url: http://127.0.0.1:8000/v1
    slots: 2
    tier: heavy
  - <<: *usual
    name: b
    slots: 3
  - <<: [{tier: fast}, *usual]
    name: c
""", "publisher.yaml")
    assert [(p.name, p.slots, p.tier) for p in config.providers] == [("a", 2, "heavy"), ("b", 3, "heavy"), ("c", 2, "fast")]


def test_an_empty_file_publishes_nothing(tmp_path):
    assert read(tmp_path, "# later\n", "publisher.yaml").providers == ()


def test_the_c_parser_is_used_where_it_is():
    assert issubclass(yaml_form._Loader, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)


# Not those beyond U+FFFF: JSON writes them as two halves, which YAML does not know.
TEXT = st.text(st.characters(max_codepoint=0xD7FF))
KEY = st.text(st.characters(max_codepoint=0xD7FF), max_size=60)  # YAML's own limit is 1,024 characters as written
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON, st.sampled_from([None, 1, 3]))
def test_json_is_read_alike_in_both_forms_and_its_lines_are_the_same(value, indent):
    text = json.dumps(value, indent=indent)
    assert json_form.value(text) == value
    if value is not None:  # as a whole file, that is an empty one in YAML
        assert yaml_form.value(text) == value
    assert json_form.lines(text) == yaml_form.lines(text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_text_is_too_broken_to_be_told(data):
    """Pieces of a good file in any order: it is read, or there is a complaint with one line; never a crash."""
    pieces = data.draw(st.lists(st.sampled_from(FILE.split(" ") + list("{}[]:,&*!?|>-'\"%@`#\t\n \\\0")) | st.text(max_size=3), max_size=25))
    for form in (yaml_form, json_form):
        try:
            form.value("".join(pieces))
        except Mistake as mistake:
            assert "\n" not in mistake.text


def test_a_pipe_can_be_read(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, FILE.encode())
    os.close(writing)
    place = Path(f"/dev/fd/{reading}")
    if not place.exists():
        pytest.skip("no /dev/fd on this system")
    assert read_config(place).providers[0].name == "a"
    os.close(reading)
