"""Result frames become items: what follows one another is one, what makes no sense is refused alone."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from broker.relay.inbound import BadFrame, event, items
from broker.relay.parts import read_head, split
from broker.wire import Chunk, Result


def parts_of(item) -> list[tuple[str, bytes]]:
    return list(split(b"".join(item.parts)))


def one(result: Result):
    (item,) = items([result])
    return item


def text(task: str, seq: int | None, data: str, **more) -> Result:
    return Result(task_id=task, seq=seq, chunk=Chunk(data=data, **more))


def test_frames_of_one_task_that_follow_one_another_are_one_item():
    (item,) = items([text("t", 3, "a"), text("t", 4, "b"), text("t", 5, "c", done=True)])
    assert (item.seq, item.count, item.flag, item.lines) == (3, 3, "e", [0, 1, 2])
    assert parts_of(item) == [("C", b"data: a\n\n"), ("C", b"data: b\n\n"), ("C", b"data: c\n\n"), ("D", b"")]


def test_a_gap_or_a_repetition_begins_another_item():
    made = items([text("t", 0, "a"), text("t", 2, "b"), text("t", 2, "b"), text("t", 3, "c")])
    assert [(item.seq, item.count, item.lines) for item in made] == [(0, 1, [0]), (2, 1, [1]), (2, 2, [2, 3])]


def test_tasks_are_not_mixed_however_their_frames_are():
    made = items([text("t", 0, "a"), text("u", 0, "x"), text("t", 1, "b"), text("u", 1, "y")])
    assert [(item.task, item.count, item.lines) for item in made] == [("t", 2, [0, 2]), ("u", 2, [1, 3])]


def test_frames_without_numbers_are_not_joined_to_numbered_ones():
    made = items([text("t", None, "a"), text("t", None, "b"), text("t", 0, "c")])
    assert [(item.seq, item.count) for item in made] == [(None, 2), (0, 1)]


def test_nothing_is_added_to_an_item_that_has_ended():
    made = items([text("t", 0, "a", done=True), text("t", 1, "b")])
    assert [item.flag for item in made] == ["e", "c"]


def test_an_accept_does_not_part_the_frames_around_it():
    made = items([text("t", 0, "a"), Result(task_id="t", accept=True), text("t", 1, "b")])
    assert [(item.flag, item.lines) for item in made] == [("c", [0, 2]), ("a", [1])]


def test_a_frame_that_makes_no_sense_leaves_its_neighbours():
    frames: list = [text("t", 0, "a"), Result(task_id="t", seq=1), BadFrame("bad line"), text("t", 1, "b")]
    (item,) = items(frames)
    assert item.lines == [0, 3] and isinstance(frames[1], BadFrame) and isinstance(frames[2], BadFrame)


@given(some.text())
def test_no_payload_can_forge_an_event(payload):
    written = event(payload.encode("utf-8", "replace"))
    assert written.endswith(b"\n\n") and b"\n\n" not in written[:-2] and b"\r" not in written
    assert all(line.startswith(b"data: ") for line in written[:-2].split(b"\n"))


@given(some.text(alphabet=some.characters(exclude_characters="\r\n", exclude_categories=["Cs"])))
def test_a_payload_of_one_line_is_kept_to_the_byte(payload):
    assert event(payload.encode()) == b"data: " + payload.encode() + b"\n\n"


@given(some.text(alphabet="dat: \nx\r"))
def test_events_are_taken_only_when_they_are_plain_data_lines(text_):
    lines = text_.split("\n\n")
    plain = not text_ or (
        lines[-1] == "" and all(line.startswith("data: ") and "\n" not in line and "\r" not in line for line in lines[:-1])
    )
    frames: list = [Result(task_id="t", chunk=Chunk(events=text_))]
    assert bool(items(frames)) == plain


def test_a_whole_answer_is_head_body_and_end():
    item = one(Result(task_id="t", status=404, headers={"Content-Type": "text/plain", "Server": "x"}, body=msgspec.Raw(b'"n\\u00f6"')))
    (h, first), body, end = parts_of(item)
    assert h == "H" and (body, end) == (("C", "nö".encode()), ("D", b""))
    assert read_head(first).headers == {"content-type": "text/plain"}
    assert item.flag == "e" and item.note.startswith("!the publisher answered 404")


@pytest.mark.parametrize(("status", "ok"), [(200, True), (202, True), (299, True), (300, False), (404, False), (500, False)])
def test_the_note_of_an_answer_tells_success_by_2xx(status, ok):
    assert (one(Result(task_id="t", status=status, body=msgspec.Raw(b"{}"))).note == "ok") == ok


def test_a_status_with_headers_alone_goes_on_and_a_status_alone_ends():
    assert one(Result(task_id="t", status=200, headers={})).flag == "c"
    assert one(Result(task_id="t", status=204)).flag == "e"


def test_an_error_code_that_is_unknown_is_502():
    ((letter, content),) = parts_of(one(Result(task_id="t", error="why", code="odd")))
    assert letter == "E" and msgspec.json.decode(content) == {"status": 502, "code": "odd", "message": "why"}


@pytest.mark.parametrize("status", [-1, 0, 100, 199, 600, 1000])
def test_a_status_that_http_does_not_have_is_refused(status):
    frames: list = [Result(task_id="t", status=status, body=msgspec.Raw(b"1"))]
    assert items(frames) == [] and "status" in str(frames[0])
