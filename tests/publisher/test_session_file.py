"""The session file: sticky when it can be, never in the way when it cannot."""

import logging

import pytest

from publisher.link.session import SessionFile, default_session_file


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"providerSessionId": 5}', "{}", '{"providerSessionId": ""}'])
def test_a_broken_file_means_a_new_session_and_a_warning(tmp_path, junk, caplog):
    path = tmp_path / "s.json"
    path.write_text(junk)
    assert SessionFile(path).load() is None
    assert "starting a new session" in caplog.text


def test_no_file_is_no_reason_to_warn(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    assert SessionFile(tmp_path / "s.json").load() is None
    assert not [record for record in caplog.records if record.name.startswith("publisher")]


def test_a_place_that_cannot_be_written_costs_a_warning_only(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    SessionFile(tmp_path / "file" / "s.json").save("s1")
    assert "cannot be written" in caplog.text


def test_saving_leaves_one_file_and_forgetting_none(tmp_path):
    file = SessionFile(tmp_path / "deep" / "s.json")
    file.save("s1")
    file.save("s2")
    assert file.load() == "s2"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["s.json"]
    file.forget()
    file.forget()
    assert file.load() is None


def test_each_broker_and_config_has_its_own_session(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    files = {default_session_file(b, c) for b in ("http://a", "http://b") for c in ("/x.json", "/y.json")}
    assert len(files) == 4 and all(tmp_path in f.parents for f in files)
