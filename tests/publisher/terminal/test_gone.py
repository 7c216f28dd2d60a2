"""A reader that is gone changes no exit code."""

import os
import subprocess
import sys

import pytest

from publisher.terminal.gone import let_go


@pytest.mark.parametrize("letting_go", [True, False])
def test_what_nobody_can_read_any_more_is_let_go(letting_go):
    end = "let_go(sys.stdout)" if letting_go else "pass"
    code = f"import sys; from publisher.terminal.gone import let_go; sys.stdin.read(1); print('lost', end=''); {end}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    process.stdout.close()
    process.stdin.write(b"x")
    process.stdin.close()
    assert process.wait(20) == (0 if letting_go else 120)


def test_what_can_be_read_is_written(tmp_path):
    with open(tmp_path / "out", "w") as stream:
        stream.write("said")
        let_go(stream)
        assert (tmp_path / "out").read_text() == "said"
    let_go(stream)  # a closed one is nobody's matter
    assert os.path.exists(tmp_path / "out")
