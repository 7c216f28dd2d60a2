"""The parts of a reply: whatever goes in comes out, however it was put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from broker.relay.parts import DONE, failure, head, part, read_failure, read_head, split


@given(some.lists(some.tuples(some.sampled_from("HCEDQ"), some.binary(max_size=50))))
def test_parts_come_out_as_they_went_in(written):
    value = b"".join(part(letter.encode(), content) for letter, content in written)
    assert list(split(value)) == written


def test_bytes_that_look_like_parts_are_content():
    inner = part(b"C", b"x") + DONE
    assert list(split(part(b"C", inner) + DONE)) == [("C", inner), ("D", b"")]


def test_what_the_scripts_write_is_read_too():
    assert list(split(b"Q0:" + b"C3:a\xe2\x82")) == [("Q", b""), ("C", b"a\xe2\x82")]


@pytest.mark.parametrize("status", [200, 404, 599])
def test_a_head_is_read_back(status):
    ((letter, content),) = split(head(status, {"content-type": "text/plain"}))
    read = read_head(content)
    assert (letter, read.status, read.headers) == ("H", status, {"content-type": "text/plain"})


def test_a_failure_is_read_back():
    ((letter, content),) = split(failure(503, "wake_failed", 'no "power"\n€'))
    read = read_failure(content)
    assert (letter, read.status, read.code, read.message) == ("E", 503, "wake_failed", 'no "power"\n€')
