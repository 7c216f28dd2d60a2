"""What agents are called as tools of MCP clients: possible names, one each, always the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.front_mcp.names import is_made, tool_name

ODD = ["a b", "team/reviewer", "père", "日本", "x" * 65, "", "a.b", "a:b", "plain-0123456789ab"]


@pytest.mark.parametrize("name", ["a", "reviewer", "Code_Reviewer-2", "x" * 64, "release-20261121", "0"])
def test_a_name_that_is_possible_stays(name):
    assert tool_name(name) == name and not is_made(name)


@pytest.mark.parametrize("name", ODD)
def test_another_gets_a_possible_form_that_is_always_the_same(name):
    tool = tool_name(name)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool) and tool != name and is_made(tool) and tool_name(name) == tool


def test_a_form_still_says_whose_it_is():
    assert tool_name("team/code reviewer").startswith("team_code_reviewer-") and tool_name("日本").startswith("agent-")


@given(st.lists(st.text(max_size=80), unique=True, min_size=2, max_size=8))
def test_no_two_agents_share_a_name(names):
    assert len({tool_name(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ODD)
def test_no_agent_can_take_anothers_name(name):
    assert tool_name(tool_name(name)) != tool_name(name)
