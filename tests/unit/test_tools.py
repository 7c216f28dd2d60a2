"""The small rules of tools: names for the LLM, allow-lists, schemas, texts; and what start-up does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.tools.allow import AllowList
from broker.tools.content import answer_of, cut
from broker.tools.schema import fault_of
from broker.tools.spec_names import spec_name
from tests.unit.test_architecture import importers, outside

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "properties", "items", "anyOf", "enum", "required", "content", "text", "resource", "data", "x"]), inner, max_size=3
    ),
    max_leaves=12,
)


def test_start_up_does_not_load_the_sdk():
    code = "import broker.__main__, broker.serve, sys; print([name for name in sys.modules if name.split('.')[0] in ('mcp', 'mcp_types', 'httpx2', 'anyio')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_room_knows_neither_http_fronts_nor_settings():
    closed = ("broker.http", "broker.chat", "broker.app", "broker.settings", "broker.commands")
    assert not {file for file in importers(*closed) if file.startswith("broker/tools/")}
    assert not outside(importers("broker.tools.mcp_session", "broker.tools.guarded_http"), "broker/tools/mcp_session.py")


@pytest.mark.parametrize(("tool", "name"), [("read", "files__read"), ("read-it_2", "files__read-it_2"), ("x" * 57, "files__" + "x" * 57)])
def test_a_plain_name_stays_readable(tool, name):
    assert spec_name("files", tool) == name


def test_an_odd_name_is_the_same_for_ever():
    assert spec_name("files", "read file") == "files__read_file_bbd14d49"


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_every_name_is_one_that_llms_take_and_no_two_meet(one, other):
    first, second = spec_name("files", one), spec_name("files", other)
    assert 1 <= len(first) <= 64 and first.isascii() and first.replace("_", "").replace("-", "").isalnum()
    assert (first == second) == (one == other)


@pytest.mark.parametrize(
    ("extras", "server", "tool", "allowed"),
    [
        (b"", "files", "read", True), (b"{}", "files", "read", True), (b'{"tools": null}', "files", "read", True),
        (b'{"tools": []}', "files", "read", False), (b'{"tools": ["files"]}', "files", "read", True),
        (b'{"tools": ["files"]}', "search", "read", False), (b'{"tools": ["files.read"]}', "files", "read", True),
        (b'{"tools": ["files.read"]}', "files", "reader", False), (b'{"tools": ["files.read*"]}', "files", "reader", True),
        (b'{"tools": ["files.*"]}', "files", "a.b", True), (b'{"tools": ["files.READ"]}', "files", "read", False),
        (b'{"tools": ["*"]}', "files", "read", False), (b'{"tools": ["files.a.b"]}', "files", "a.b", True),
    ],
)
def test_an_allow_list_names_servers_or_tools(extras, server, tool, allowed):
    assert AllowList.read(extras).has(server, tool) is allowed


@pytest.mark.parametrize("extras", [b'{"tools": "files"}', b'{"tools": [1]}', b'{"tools": {}}', b"[]", b"{"])
def test_a_list_that_cannot_be_read_is_refused(extras):
    with pytest.raises(ValueError, match=r"extras\.tools"):
        AllowList.read(extras)


@pytest.mark.parametrize(
    "schema",
    [
        {}, {"type": "object"}, {"type": "object", "properties": {"a": {"type": ["string", "null"], "enum": ["x"]}}, "required": ["a"]},
        {"properties": {"a": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/x"}}, True]}}, "$defs": {"x": {}}},
        {"type": "object", "additionalProperties": False, "properties": {"type": {"type": "integer"}, "enum": {"items": [{}, {}]}}},
    ],
)
def test_a_schema_that_llms_take_is_taken(schema):
    assert fault_of(schema) == ""


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (None, "no object"), ([], "no object"), ({"type": "string"}, "no object"), ({"type": ["object"]}, "no object"),
        ({"properties": []}, "`properties` is no object"), ({"properties": {"a": 1}}, "/properties/a is no schema"),
        ({"properties": {"a": {"type": "str"}}}, "/properties/a: there is no type 'str'"), ({"properties": {"a": {"type": 5}}}, "`type` is no text"),
        ({"required": "a"}, "`required` is no list"), ({"required": [1]}, "no list of names"), ({"anyOf": {}}, "`anyOf` is no list"),
        ({"items": {"anyOf": [{"enum": "x"}]}}, "/items/anyOf: `enum` is no list"),
    ],
)
def test_what_is_wrong_with_a_schema_is_told(schema, words):
    assert words in fault_of(schema)


@given(JSON)
def test_any_json_is_judged_as_a_schema(schema):
    assert isinstance(fault_of(schema), str)


@given(st.dictionaries(st.sampled_from(["content", "structuredContent", "isError"]), JSON))
def test_any_result_is_a_text(result):
    content, is_error = answer_of(result, 1000)
    assert content and isinstance(is_error, bool) and content.encode()


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_a_cut_text_is_whole_characters_within_the_limit(text, limit):
    kept = cut(text, limit)
    if kept != text:
        start = kept.rpartition("\n[cut: ")[0]
        assert text.startswith(start) and limit - 3 <= len(start.encode()) <= limit < len(text.encode())
