"""Times, counts and bars in few cells."""

import pytest

from publisher.terminal.amounts import bar, coarse, count, seconds
from publisher.terminal.suits import has_view, only_ascii, suits_view


@pytest.mark.parametrize(
    "s, text",
    [(-1, "0.0s"), (0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m00s"), (185, "3m05s"),
     (3599.6, "1h00m"), (7500, "2h05m"), (360_000, "4d4h")],
)
def test_a_time_has_two_figures_or_three(s, text):
    assert seconds(s) == text


@pytest.mark.parametrize("s, text", [(-1, "0s"), (12.9, "12s"), (61, "1m"), (3599, "59m"), (3661, "1h01m"), (90_000, "1d1h")])
def test_a_coarse_time_changes_seldom(s, text):
    assert coarse(s) == text


@pytest.mark.parametrize("n, text", [(0, "0"), (82.4, "82"), (9_999, "9999"), (12_345, "12.3k"), (999_949, "999.9k"),
                                     (999_950, "1.0M"), (4_000_000, "4.0M")])
def test_a_count_is_short(n, text):
    assert count(n) == text


@pytest.mark.parametrize(
    "done, total, cells, drawn",
    [(0, 4, 4, "...."), (2, 4, 4, "##.."), (1, 400, 8, "#......."), (9, 4, 4, "####"), (1, 0, 4, ""), (0, 3, 0, "")],
)
def test_a_bar_never_hides_that_something_began(done, total, cells, drawn):
    assert bar(done, total, cells, "#", ".") == drawn


@pytest.mark.parametrize("encoding, ascii_only", [("utf-8", False), ("ascii", True), ("latin-1", True), ("no such", True), (None, True)])
def test_signs_need_an_encoding_that_has_them(encoding, ascii_only):
    assert only_ascii(encoding) is ascii_only


class Terminal:
    def __init__(self, tty):
        self.isatty = lambda: tty


def test_without_the_library_there_is_no_view(monkeypatch):
    assert has_view()
    monkeypatch.setattr("publisher.terminal.suits.find_spec", lambda name: None)
    assert not has_view()


@pytest.mark.parametrize("tty, term, suits", [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False), (True, None, True)])
def test_the_view_wants_a_terminal_that_is_not_dumb(monkeypatch, tty, term, suits):
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    assert suits_view(Terminal(tty)) is suits and not suits_view(None)
