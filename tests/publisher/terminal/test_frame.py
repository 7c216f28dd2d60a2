"""The live view's picture: what it says, and that it fits any terminal."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from publisher.activity import Activity
from publisher.status import BrokerStatus, RowStatus, Status
from publisher.terminal.frame import Snapshot, frame, lines
from publisher.terminal.printable import printable

SESSION = "ps_zGcrjmskfm9eXgh7yB5365FK"
OPEN = BrokerStatus("https://broker.example", "open", SESSION, 180)


def row(name="qwen", state="active", slots=4, **more):
    return RowStatus(name, "model", "ollama", "http://127.0.0.1:11434", state, slots, **more)


def status(*rows, brokers=(OPEN,), **more):
    return Status("1.0", 1, 7500, "/home/me/publisher.yaml", brokers=list(brokers), rows=list(rows), **more)


def shown(told, snapshot=Snapshot(0.0), width=100, height=50, ascii_only=False):
    """The picture's lines as rich draws them."""
    console = Console(width=max(width, 1), height=height, color_system=None, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(frame(told, snapshot, width, height, ascii_only))
    return captured.get().rstrip("\n").split("\n")


class Traffic:
    """Requests with a clock, as a snapshot."""

    def __init__(self):
        self.now = 0.0
        self.activity = Activity(lambda: self.now)
        self.recent = []

    def begin(self, name="qwen", operation="chat", streaming=True, started=True):
        request = self.activity.began(f"t{self.now}{len(self.activity.running)}", name, operation, streaming)
        if started:
            request.started()
        return request

    def end(self, request, outcome="ok"):
        request.ended(outcome)
        self.recent.append((1_700_000_000.0, request))

    @property
    def snapshot(self):
        running = tuple(self.activity.running.values())
        return Snapshot(self.now, running, len(running), tuple(self.recent), self.activity.wakes)


def busy(n_rows, n_running=0, n_ended=0, name="m"):
    traffic = Traffic()
    for n in range(n_ended):
        traffic.end(traffic.begin(f"{name}{n}"), ["ok", "backend 503", "cancelled"][n % 3])
    for n in range(n_running):
        traffic.begin(f"{name}{n}", started=n % 2)
    states = ("active", "waking", "falling asleep", "hibernating", "unreachable", "unheard of")
    rows = [
        row(f"{name}{n}", states[n % 6], waiting=n % 3, running=n % 5, last_error="it broke" * (n % 2), sleeps_in_s=n * 9.0)
        for n in range(n_rows)
    ]
    return status(*rows), traffic.snapshot


def fits(told, width, height):
    assert len(told) <= height
    for line in told:
        assert cell_len(line) <= width and line == line.rstrip()
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("height", [10, 50])
@pytest.mark.parametrize("n_rows", [0, 1, 100])
@pytest.mark.parametrize("n_running, n_ended", [(0, 0), (1, 1), (300, 16)])
@pytest.mark.parametrize("name", ["m", "名前" * 30, "x" * 125])
def test_it_fits_and_everything_has_its_share(width, height, n_rows, n_running, n_ended, name):
    told = shown(*busy(n_rows, n_running, n_ended, name), width, height)
    fits(told, width, height)
    text = "\n".join(told)
    assert "broker.example" in text
    assert name[:2] in text or not n_rows
    assert f"RUNNING {n_running}" in text or not n_running
    assert "ENDED" in text or not n_ended
    if n_rows == 100 or n_running == 300:
        assert re.search(r"\+\d+ more", text)


@given(st.integers(1, 120), st.integers(1, 60), st.integers(0, 30), st.integers(0, 30), st.integers(0, 9), st.booleans())
def test_it_fits_at_any_size(width, height, n_rows, n_running, n_ended, ascii_only):
    told = shown(*busy(n_rows, n_running, n_ended, "名x"), width, height, ascii_only)
    fits(told, width, height)
    assert not ascii_only or "".join(told).isascii()


def test_the_numbers_of_more_and_of_shown_add_up():
    for height in range(4, 60):
        told = shown(*busy(40), height=height)
        more = [int(found[1]) for line in told if (found := re.fullmatch(r"  \+(\d+) more", line))]
        assert sum(bool(re.match(r"[●◐◑○✗?] m\d", line)) for line in told) + sum(more) == 40


def test_a_row_says_its_state_slots_line_speed_and_sleep():
    told = shown(status(row(running=2, waiting=7, tokens_per_s=82.4, sleeps_in_s=290)))
    assert told[3].split() == ["NAME", "STATE", "SLOTS", "WAITING", "TOK/S", "SLEEPS", "IN"]
    assert told[4].split() == ["●", "qwen", "active", "2/4", "━━──", "7", "82", "4m"]


@pytest.mark.parametrize(
    "state, chip, style, plain",
    [("active", "●", "green", "*"), ("waking", "◐", "yellow", "~"), ("falling asleep", "◑", "yellow", "~"),
     ("hibernating", "○", "blue", "o"), ("unreachable", "✗", "red", "x"), ("unheard of", "?", "", "?")],
)
def test_a_state_has_a_chip_in_its_colour_and_one_in_ascii(state, chip, style, plain):
    picture = lines(status(row(state=state)), Snapshot(0.0), 80, 20)
    line = next(line for line in picture if any("qwen" in text for text, _ in line))
    assert line[0] == (chip + " ", style)
    assert any(text.startswith(plain + " qwen") for text in shown(status(row(state=state)), ascii_only=True))


def test_a_wake_shows_how_far_it_is():
    traffic = Traffic()
    traffic.activity.waking("qwen", 60)
    traffic.now = 30.0
    text = "\n".join(shown(status(row(state="waking")), traffic.snapshot))
    assert "◐ qwen  waking 30s/60s ━━━━────" in text
    traffic.now = 90.0
    assert "waking 1m/60s ━━━━━━━━" in "\n".join(shown(status(row(state="waking")), traffic.snapshot))
    assert "waking 12s  " in "\n".join(shown(status(row(state="waking", state_since_s=12))))


def test_the_last_error_stands_below_its_row_while_there_is_room():
    told = status(row("a", "unreachable", state_since_s=200, last_error="Connection refused", last_error_ago_s=12), row("b"))
    text = shown(told)
    at = text.index("    Connection refused (12s ago)")
    assert text[at - 1].startswith("✗ a     unreachable 3m") and text[at + 1].startswith("● b")
    assert not any("refused" in line for line in shown(told, height=5))


def test_rows_where_something_happens_come_first_when_not_all_fit():
    rows = [row(f"still-{n}") for n in range(50)] + [row("busy", running=1), row("gone", "unreachable")]
    text = "\n".join(shown(status(*rows), height=12))
    assert "busy" in text and "gone" in text and "still-0" in text and "+44 more" in text


def test_brokers_say_their_state_and_what_is_wrong():
    away = BrokerStatus("http://10.0.0.7:8123", "connecting", None, 12, "no answer in time", 2)
    told = shown(status(brokers=(OPEN, away), config_error="line 3: slots: must be a whole number", memory_bytes=38_400_000))
    assert told[0] == "Reveille 1.0 · up 2h05m · 38 MB · publisher.yaml"
    assert told[1] == "config: line 3: slots: must be a whole number"
    assert told[2] == f"● https://broker.example  open 3m · {SESSION}"
    assert told[3] == "◐ http://10.0.0.7:8123  connecting 12s · no answer in time"
    assert "+4 more brokers" in "\n".join(shown(status(brokers=[away] * 9)))


def test_running_requests_say_what_they_wait_for_and_how_fast_they_are():
    traffic = Traffic()
    traffic.activity.waking("llama", 60)
    fast = traffic.begin()
    traffic.begin(), traffic.begin(started=False), traffic.begin("llama", "completions", started=False)
    traffic.begin(operation="embeddings", streaming=False).block(0)
    for _ in range(100):
        traffic.now += 0.1
        fast.block(5)
    told = shown(status(), traffic.snapshot)
    at = told.index("RUNNING 5")
    assert [line.split() for line in told[at + 1 :]] == [
        ["chat", "qwen", "10s", "500", "tok", "50/s"],
        ["chat", "qwen", "10s", "no", "answer", "yet"],
        ["chat", "qwen", "10s", "waiting", "for", "a", "slot"],
        ["completions", "llama", "10s", "waiting", "for", "the", "wake"],
        ["embeddings", "qwen", "10s", "answering"],
    ]


def test_the_last_ended_requests_stand_below_the_newest_first():
    traffic = Traffic()
    for outcome, tokens in (("ok", 101), ("backend 503", 0), ("cancelled", 3), ("failed: it broke", 0), ("ok", 0)):
        request = traffic.begin()
        traffic.now += 0.5
        request.block(tokens)
        traffic.now += 2.0
        traffic.end(request, outcome)
    told = shown(status(row(requests=12_345, failed=3)), traffic.snapshot)
    at = told.index("ENDED 12.3k · 3 failed")
    clock = time.strftime("%H:%M:%S", time.localtime(1_700_000_000))
    assert [line.removeprefix(f"  {clock} chat qwen     2.5s  ") for line in told[at + 1 :]] == [
        "ok", "it broke", "cancelled", "backend 503", "101 tok  50/s",
    ]


def test_markup_and_controls_in_what_comes_from_elsewhere_do_nothing():
    traffic = Traffic()
    name = "[red]x[/] :smile:"
    traffic.end(traffic.begin(name), "failed: \x1b[2J\x9b1A\r\nboo\u202eh\t[bold]")
    told = shown(
        status(row(name, last_error="a\x07b\x00c"), brokers=[BrokerStatus("http://b/[i]", "refused", None, 1, "no\x1b[31m")]),
        traffic.snapshot, 120,
    )
    text = "\n".join(told)
    assert text.count(name) == 2 and "http://b/[i]" in text and "no\\x1b[31m" in text and "a\\x07b\\x00c" in text
    assert "\\x1b[2J\\x9b1A boo\\u202eh\\x09[bold]" in text
    fits(told, 120, 50)


def test_nothing_published_is_said():
    assert "  nothing is published" in shown(status())


def test_two_pictures_of_the_same_are_equal_and_a_change_is_seen():
    def look(**more):
        return lines(status(row(**more)), Snapshot(0.0), 80, 30)

    assert look() == look() and look() != look(running=1)


@pytest.mark.parametrize(
    "text, plain",
    [("a\nb\r\nc", "a b c"), ("a\rb", "a\\x0db"), ("\x1b]0;t\x07", "\\x1b]0;t\\x07"), ("\ud800", "\\ud800"),
     ("a\u2028b", "a\\u2028b"), ("名 é", "名 é"), ("", "")],
)
def test_printable_text_is_one_harmless_line(text, plain):
    assert printable(text) == plain


def test_what_an_encoding_cannot_say_is_escaped():
    assert printable("é名\n", "ascii") == "\\xe9\\u540d "
