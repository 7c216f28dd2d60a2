"""How the store's scripts are put together of what they share."""

from __future__ import annotations

import re

import pytest

from broker.store.scripts import compose, names

MADE_WHEN_CALLED = re.compile(r"local rare_made\nrare = function\(\)\n.*?\n  rare_made = \{ (.*?) \}\n", re.DOTALL)


@pytest.mark.parametrize("name", names())
def test_functions_that_few_calls_need_are_made_when_one_is_called(name):
    text = re.sub("--.*", "", compose(name).decode())
    found = MADE_WHEN_CALLED.search(text)
    if not found:
        return
    usual = text.replace(found[0], "")
    for rare in re.findall(r"(\w+) =", found[1]):
        # Each call says so, and no other thing in the script has that name.
        assert not re.search(rf"(?<!rare\(\)\.)(?<![\w.:'\"]){rare}\(", usual), rare
        assert not re.search(rf"local (function )?{rare}\b", usual), rare


@pytest.mark.parametrize("name", names())
def test_a_script_defines_nothing_that_is_shared_under_the_same_name(name):
    assert "function rare()." not in compose(name).decode(), "rename it: the shared one is meant wherever the name stands"
