"""Documents: what is written in YAML or JSON, and what is wrong with it, each with its line."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.cli.api import Misused
from broker.cli.documents import LARGEST, read
from broker.cli.yaml_form import Malformed, documents, written


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Agent\nname: a\nmodel: m\n---\nname: b\nkind: Agent\nmodel: m\nllms: x\n", "f:5: Agent 'b': has no field `llms`; there are description,"),
        ("kind: Agent\nname: a\nmodel: m\n---\n\nkind: Agent\nname: a\nmodel: n\n", "f:6: Agent 'a' is written already, at f:1"),
        ("kind: Prompt\nname: a\ncontent: m\n---\nkind: Prompt\nname: a\ncontent: n\n", "f:5: Prompt 'a' is written already, at f:1"),
        ("kind: Agent\nname: a\nmodel: m\nllm: l\n", "f:1: Agent 'a': has either `llm` or `model`"),
        ("kind: Agent\nname: a\nmodel: m\ndefaultParams: [1]\n", "f:1: Agent 'a': `defaultParams` must be an object"),
        ("kind: Agent\nname: a\nmodel: m\ndescription: 5\n", "`description` must be a text"),
        ("kind: Personality\nname: a\nprompts: [[]]\n", "`prompts` must be a list of names"),
        ("kind: Thing\nname: a\n", "f:1: `kind` must be one of Project, Prompt, Personality, LLM, Pool, Agent"),
        ("kind: Session\nid: a\n", "f:1: a Session can be read and not applied"),
        ('[{"kind": "public", "name": "a"}]', "f:1: this is a row as the API answers it; `broker get … -o yaml` writes documents"),
        ("kind: Agent\nname: _a\nmodel: m\n", "f:1: Agent: `name` must be 1 to 128 characters"),
        ("kind: Agent\nmodel: m\n", "f:1: Agent: `name` must be"),
        ("- 5\n", "f:1: a document is an object"),
        ("kind: Agent\nkind: LLM\n", 'f:2: "kind" is written twice'),
        ("kind: Agent\nname: [\n", "f:3: is not YAML"),
        ("a: &x [*x]\n", "f:1: refers to itself"),
        ("a: !!python/name:os.system\n", "f:1: tags (!…) are not known here"),
        ("a: " + "[" * 2000, "f:1: is nested too deeply"),
        ("a: \x01", "f:1: holds a control character"),
        ("a: 1e999", "f:1: is too large a number"),
        ("a: " + "9" * 5000, "f:1: is too large a number"),
        ('{"kind": "Agent",\n"name" "x"}', "f:2: is not JSON: Expecting ':' delimiter"),
        ('{"a": 1, "a": 2}', 'f:1: "a" is written twice'),
        ("[" * 5000, "f:1: is"),
        ("# nothing\n", "there is no document"),
        (b"\xff", "f: is not UTF-8 (byte 0)"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Misused) as refused:
        read(["f"])
    assert said in str(refused.value)


def test_what_is_too_large_is_not_read_to_its_end(tmp_path):
    large = tmp_path / "disk.yaml"
    with large.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(Misused, match="disk.yaml: is larger than 64 MiB: that is no document"):
        read([str(tmp_path)])


def test_a_long_text_is_not_multiplied_by_aliases():
    with pytest.raises(Malformed, match="multiplies, by its aliases"):
        list(documents(f"a: &long {'x' * 100_000}\nb: [{'*long, ' * 1000}]"))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
    | st.sampled_from(["yes", "1e3", "12:30", "0x1f", "1_000", "~", "null", "<<", "=", "- a", "a: b", " x", "x \n", "a\n\n b\n", "2020-01-01", "\u2028", "\x85x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read_as_it_was(value):
    assert [one for _, one in documents(written(value))] == [value]
    assert [one for _, one in documents(json.dumps(value))] == [value]


@settings(max_examples=200, deadline=None)
@given(VALUES)
@example(5e-324)
@example(1e16)
@example({"\x85": " \n x"})
def test_other_programs_read_the_same(value):
    assert yaml.safe_load(written({"x": value})) == {"x": value}


def test_documents_are_told_apart_with_their_lines():
    text = "# a\n---\na: 1\n---\n---\n- b: 2\n\n- c: 3\n"
    assert list(documents(text)) == [(3, {"a": 1}), (6, {"b": 2}), (8, {"c": 3})]
    assert list(documents(' {"a": 1}\n\n[{"b": 2}, 3]')) == [(1, {"a": 1}), (3, {"b": 2}), (3, 3)]
    assert list(documents("\ufeff{a: 1, # in brackets, and no JSON\n b: x}")) == [(1, {"a": 1, "b": "x"})]
