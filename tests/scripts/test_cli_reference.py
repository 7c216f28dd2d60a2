"""``docs/cli.md`` is what ``scripts/cli-reference`` would write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from scripts.reference.page import page
from tests.support.processes import ROOT
from tests.unit.test_docs import broker_command, options, publisher_command


def test_the_reference_is_not_stale():
    assert (ROOT / "docs" / "cli.md").read_text() == page(), "write it: scripts/cli-reference"


def test_the_reference_has_every_verb_and_option():
    text = page()
    for verb, flag in options(broker_command, "broker") + options(publisher_command, "publisher"):
        assert f"# {verb}\n" in text, verb
        section = text.split(f"# {verb}\n")[1].split("\n#")[0]
        assert f"`{flag}`" in section, f"{verb} {flag}"


def test_a_stale_reference_is_told_and_written_anew(tmp_path):
    for name in ("broker", "publisher", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    # What is run is a copy, for a program finds its page beside itself.
    (tmp_path / "scripts").unlink()
    shutil.copytree(ROOT / "scripts" / "reference", tmp_path / "scripts" / "reference")
    shutil.copy(ROOT / "scripts" / "cli-reference", tmp_path / "scripts")
    page_file = tmp_path / "docs" / "cli.md"
    page_file.parent.mkdir()
    page_file.write_text("old\n")

    def run(*words: str) -> subprocess.CompletedProcess:
        env = {**os.environ, "PYTHON": sys.executable, "COLUMNS": "40", "BROKER_URL": "http://elsewhere"}
        return subprocess.run([tmp_path / "scripts" / "cli-reference", *words], env=env, capture_output=True, text=True, timeout=30)

    stale = run("--check")
    assert (stale.returncode, stale.stderr) == (1, "docs/cli.md is stale; scripts/cli-reference writes it\n")
    assert page_file.read_text() == "old\n"
    assert run().returncode == 0 and page_file.read_text() == page()
    assert run("--check").returncode == 0


